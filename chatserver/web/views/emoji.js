// The emoji that completion and the picker offer: the character, and its names, the first of which is written `:name:`.

const LIST = `
😀 grinning happy|😃 smiley|😄 smile|😁 grin|😆 laughing|😅 sweat_smile|🤣 rofl|😂 joy tears|🙂 slight_smile|🙃 upside_down|😉 wink
😊 blush|😇 innocent angel|🥰 in_love|😍 heart_eyes|😘 kiss|😋 yum|😛 tongue|😜 crazy|🤪 zany|🤗 hug|🤭 oops|🤫 shush|🤔 thinking hmm
🤐 zipper|🤨 raised_eyebrow|😐 neutral|😑 expressionless|😶 no_mouth|😏 smirk|😒 unamused|🙄 eye_roll|😬 grimace|😌 relieved
😔 pensive sad|😪 sleepy|😴 sleeping|😷 mask|🤒 ill|🤕 hurt|🤢 sick|🤯 mind_blown|🤠 cowboy|🥳 party_face|😎 cool sunglasses|🤓 nerd
🧐 monocle|😕 confused|😟 worried|🙁 frown|😮 wow open_mouth|😲 astonished|😳 flushed|🥺 pleading|😨 fearful|😰 anxious|😢 cry|😭 sob
😱 scream|😞 disappointed|😓 sweat|😩 weary|😫 tired|🥱 yawn|😤 triumph|😡 rage angry|🤬 swearing|😈 devil|💀 skull|💩 poop|👻 ghost
👽 alien|🤖 robot|👍 +1 thumbsup yes|👎 -1 thumbsdown no|👌 ok_hand|✌️ victory|🤞 fingers_crossed|🤘 rock|👈 point_left
👉 point_right|👆 point_up|👇 point_down|👋 wave hello bye|🖐️ hand|✋ stop|👏 clap bravo|🙌 hooray raised_hands|🙏 pray thanks please
🤝 handshake deal|💪 muscle strong|✍️ writing|👀 eyes look|🧠 brain|👤 person|👥 people|🤷 shrug|🤦 facepalm|🙋 raising_hand question
❤️ heart love|🧡 orange_heart|💛 yellow_heart|💚 green_heart|💙 blue_heart|💜 purple_heart|🖤 black_heart|💔 broken_heart
💯 hundred|💥 boom|💫 dizzy|💤 zzz|🔥 fire|✨ sparkles|⭐ star|🌟 glowing_star|⚡ zap|☀️ sun|🌙 moon|☁️ cloud|🌧️ rain|❄️ snow|🌈 rainbow
🌊 wave_sea|🌱 seedling|🌳 tree|🌸 blossom|🌹 rose|🐶 dog|🐱 cat|🐭 mouse|🐰 rabbit|🦊 fox|🐻 bear|🐼 panda|🐧 penguin|🐦 bird|🐝 bee
🐛 bug|🦋 butterfly|🐢 turtle|🐍 snake python|🐙 octopus|🐳 whale|🦄 unicorn|🍎 apple|🍌 banana|🍓 strawberry|🍅 tomato|🥕 carrot|🍞 bread
🧀 cheese|🍕 pizza|🍔 burger|🍟 fries|🍝 pasta|🍜 ramen|🍣 sushi|🍪 cookie|🎂 cake birthday|🍰 shortcake|🍫 chocolate|☕ coffee|🍵 tea
🍺 beer|🍻 cheers|🍷 wine|⚽ football|🏆 trophy|🥇 gold_medal|🎉 tada party|🎊 confetti|🎁 gift present|🎈 balloon|🎵 music|🎸 guitar
🎮 game|🎲 dice|🎨 art|📷 camera|💻 laptop computer|📱 phone|⌨️ keyboard|💾 floppy save|🔋 battery|💡 idea bulb|🔧 wrench fix|🔨 hammer
⚙️ gear|🔗 link|🔒 lock|🔑 key|🔍 search mag|📌 pin|📎 paperclip|📝 memo note|📚 books|📅 calendar|📈 chart_up|📉 chart_down|📦 package
✉️ envelope mail|📣 megaphone|🔔 bell|🔕 no_bell|⏰ alarm|⏳ hourglass|🚀 rocket ship|🚗 car|🚲 bike|🚂 train|✈️ plane|🏠 house home
🏖️ beach|🌍 earth world|🗑️ trash|🚧 construction wip|🚨 siren alert|⚠️ warning|⛔ no_entry|🚫 forbidden|❌ x cross|✅ check done|❓ question_mark
❗ exclamation|➕ plus|➖ minus|➡️ right|⬅️ left|⬆️ up|⬇️ down|🔄 refresh|🆗 ok|🆕 new|🔴 red|🟡 yellow|🟢 green|🔵 blue|🏁 finish|🏳️ white_flag`;

/** @type {[string, string][]} */
export const EMOJI = LIST.trim().split(/[|\n]/).map(one => {
  const at = one.indexOf(" ");
  return [one.slice(0, at), one.slice(at + 1)];
});

export const FREQUENT = ["👍", "❤️", "😂", "🎉", "👀", "🙏"];
