"""The sentences for people, as sent to programs. The text dialect has the same with its own names of commands: see
`wire/text/shown/render.py`."""

from collections.abc import Mapping
from string import Formatter
from typing import Any, Final

from chatserver.values.errors import Note, Sentence, Why, because

SENTENCES: Final[dict[Why | Note, str]] = {
    Why.UNDECODABLE: "{text}",
    Why.FOREIGN: "This is a chat server, but your client speaks another protocol. Use nc or telnet.",
    Why.LINE_TOO_LONG: "A line can have at most {most} bytes; yours was dropped.",
    Why.NO_SUCH_SESSION: "You have no kept session with this number: it may have ended already. List them to see them.",
    Why.TOKEN_NOT_KEPT: "The session of a token cannot be kept. Log in with the password to keep one.",
    Why.NO_SUCH_TOKEN: "You have no token with this label: it may be revoked already. List your tokens to see them.",
    Why.NOT_CONTAINED: (
        "Your last message in {label} does not contain {old}. Nothing was sent. To say the line as it is, use "
        "/say {label} LINE."
    ),
    Why.NOTHING_SAID: "You have said nothing in {label} lately. Nothing was changed.",
    Why.NOTHING_SHOWN: (
        "Nothing that somebody else said here was shown to you lately. Give a number, which /history shows: "
        "/{command} 41 …"
    ),
    Why.NOBODY_WROTE: "Nobody has written to you privately since you logged in. Nothing was sent: use /msg NAME TEXT.",
    Why.TOO_MUCH_PASTED: (
        "A message has at most {lines} lines and {most} characters. Nothing was sent. Split it: /paste begins anew."
    ),
    Why.MEANT_PRIVATELY: (
        "{name} wrote to you privately just now. Nothing was sent: /r TEXT answers {name}. To say it in {room}, type "
        "it again."
    ),
    Why.LAST_IS_ERASED: (
        "Your last message in {label}, #{seq}, is erased. Give the number of the one that you mean; /history shows it."
    ),
    Why.NO_SUCH_MESSAGE: "There is no message #{seq}. The command history shows the numbers.",
    Why.MESSAGE_REMOVED: "The message {seq} was removed, as all messages before #{first} in {where}.",
    Why.ONE_OF_BEFORE_AFTER_SINCE: "Give only one of the fields before, after and since.",
    Why.NO_TIME: "This is no time. Use one such as {examples}.",
    Why.NAME_OR_DISPLAY: "Give at least one of the fields name and display.",
    Why.NO_PASSWORD_NO_CERTIFICATE: "The field password is missing, and you showed no certificate.",
    Why.NO_CURRENT_ROOM: "You are not in any room. Join one first: /join ROOM",
    Why.CERTIFICATE_KNOWN: "{name} has this certificate already, labelled {label}.",
    Why.CERTIFICATE_LABEL_TAKEN: "The account has another certificate labelled {label}. Choose another label.",
    Why.NOT_AN_EXPORT_PAGE: "The field after must be the `next` of an earlier page.",
    Why.TOKEN_LABEL_TAKEN: (
        "You have a token with this label. If you never received it, revoke it and create another one; else "
        "choose another label."
    ),
    Why.ALREADY_LOGGED_IN: "You are already logged in. Log out first to use another account.",
    Why.NO_ADDRESS: "This is neither an IPv4 or IPv6 address nor a network such as 192.0.2.0/24.",
    Why.BROKEN_LETTER: (
        "Nothing was sent: a letter in this line is broken. Type the line again. (If Backspace broke it, stty "
        "iutf8 mends your terminal; otherwise, set it to UTF-8.)"
    ),
    Why.REACTION_ONE_WORD: "A reaction is one word, for example +1.",
    Why.REACTION_SIGNS: "A reaction has no square brackets, quotation marks or commas, and no times sign (×).",
    Why.REACTION_BEGINS: "A reaction begins with a letter, a sign or an emoji, not with a mark.",
    Why.REACTION_RIGHT_TO_LEFT: "A reaction cannot have letters that are written from right to left. Use an emoji.",
    Why.ALREADY_LOGGED_IN_TYPED: "You are already logged in. To use another account, /logout first.",
    Why.BAN_OF_ADDRESS: "A ban of an address applies to the whole server. Its operators use /{everywhere}.",
    Why.YES_OR_NO: "Type yes or no, or press Enter to pick another name.",
    Why.USAGE: "Usage: {usage}",
    Why.MEANT_NOT_SAID: "Did you mean /{meant}? To say this, use /say ROOM {word}.",
    Why.MEANT_NOT_DONE: "Did you mean /{meant}? Nothing was done.",
    Why.BAD_PACE: "pace is off or so many seconds. Nothing was changed.",
    Why.PACE_TOO_LONG: "A pace is at most {most} seconds. Nothing was changed.",
    Why.NO_SUCH_ZONE: "There is no such time zone. Names are like Europe/Berlin or America/New_York.",
    Why.NO_SUCH_ZONE_BUT: "There is no such time zone. Did you mean {near}?",
    Why.FIELD_TOO_LONG: "The field {field} can have at most {most} characters.",
    Why.FIELD_UNUSABLE: "The field {field} has only characters that cannot be used. Choose another one.",
    Why.FIELD_HAS_CONTROL: "The field {field} contains the control character U+{code}. Remove it.",
    Why.TOO_MANY_MARKS: "A letter can carry at most {most} accents and other marks. Remove some.",
    Why.ONE_OF_WORDS: "{setting} is {others} or {last}. Nothing was changed.",
    Why.NO_SUCH_COMMAND_TYPED: "There is no /{word}. {remedy} Nothing was sent.",
    Why.UNSTORABLE: "A value in this command is too large, too long or cannot be stored. Correct it.",
    Why.FIELD_MISSING: "The field {field} is missing.",
    Why.LABEL_REVOKE_OR_LIST: "Give exactly one of the fields label, revoke and list.",
    Why.NAME_OR_ADDRESS: "Give exactly one of the fields name and address.",
    Why.BAN_OF_ADDRESS_IN_ROOM: "A ban of an address applies to the whole server. Leave out the field room.",
    Why.BAD_TAG: "The field tag can have at most {most} characters and must be in NFC.",
    Why.TAG_TOO_LARGE: "The field tag is too large a number: it can have 64 bits.",
    Why.FIELD_TWICE: "This object has the same field twice.",
    Why.FIELD_OUT_OF: "The field {field} must be {others} or {last}.",
    Why.FIELD_WRONG: "The field {field} is wrong: {problem}.",
    Why.NO_SUCH_COMMAND: "There is no such command.",
    Why.NO_SUCH_COMMAND_BUT: "There is no such command. Did you mean {near}?",
    Why.LOGIN_REQUIRED: "Log in first, or register.",
    Why.LOGIN_REQUIRED_TYPED: "Log in first: type your name, or /login NAME PASSWORD. Nothing was sent.",
    Why.WRONG_PASSWORD_OR_NAME: "Wrong name or password. Try again.",
    Why.WRONG_CERTIFICATE: "Your certificate does not belong to this account. Log in with the password or a token.",
    Why.WRONG_PASSWORD: "The password is wrong. Nothing was changed.",
    Why.WRONG_TOKEN: "This token is unknown, revoked or expired. Create a new one.",
    Why.WRONG_SECRET: "This secret is not valid any more, or the session has ended. Log in with your password.",
    Why.NAME_LOOKS_ALIKE: "This name looks like that of another account. Choose one that differs more.",
    Why.NAME_HAD_BY_ANOTHER: "Somebody had this name, or one that looks like it, until lately. Choose another name.",
    Why.NAME_RESERVED: "This name is reserved, or looks like one that is. Choose another name.",
    Why.NAME_OF_THE_ERASED: "Erased accounts are shown under such names. Choose another name.",
    Why.BAD_USER_NAME: "A name is a letter (a-z, A-Z) followed by up to 31 letters, digits, hyphens or underscores.",
    Why.BAD_ROOM_NAME: (
        "A room's name has up to 64 letters (a-z), digits, hyphens or underscores, and begins with a letter or "
        "digit. @NAME is your direct room with a person."
    ),
    Why.DISPLAY_NAME_MARKS: "A letter of a display name can carry at most {most} marks.",
    Why.DISPLAY_NAME_RIGHT_TO_LEFT: "A display name cannot have letters that are written from right to left.",
    Why.DISPLAY_NAME_SIGNS: "A display name has letters, digits, blanks, emoji and the signs . ' - · only.",
    Why.DISPLAY_NAME_BEGINS: "A display name begins with a letter, a digit or an emoji.",
    Why.DISPLAY_NAME_WITHOUT_LETTER: "A display name has at least one letter.",
    Why.DISPLAY_NAME_TOO_WIDE: "A display name can be at most {most} columns wide.",
    Why.DISPLAY_NAME_RESERVED: "This name is reserved, or looks like one that is. Choose another one.",
    Why.PASSWORD_TOO_SHORT: "A password needs at least {least} characters. Choose a longer one.",
    Why.PASSWORDS_DIFFER: "The two passwords differ.",
    Why.PASSWORD_CONTROLS: "A password cannot contain control characters. Choose another one.",
    Why.PASSWORD_TOO_LONG: "A password can have at most {most} characters. Choose a shorter one.",
    Why.PASSWORD_MARKS: "A letter can carry at most {most} accents and other marks. Remove some.",
    Why.NAME_TAKEN_LOG_IN: "The name {name} is taken. Log in, or choose another.",
    Why.NAME_TAKEN: "The name {name} is taken. Choose another.",
    Why.NO_SUCH_ROOM: "There is no room {name}. For a list, use the command rooms.",
    Why.NO_SUCH_INVITATION: "{name} has no invitation to {room} that you can withdraw.",
    Why.NOT_IN_ROOM: "{name} is not in {room}.",
    Why.NOT_BANNED: "{name} is not banned from {room}.",
    Why.NO_SUCH_BAN: "There is no such ban. For a list, use the command bans.",
    Why.RENAMED: "{name} is now called {now}.",
    Why.NO_SUCH_USER: "There is no account named {name}. Check the spelling.",
    Why.ROOM_TAKEN: "The name {name} is taken. Choose another, or join the room.",
    Why.NOT_A_MEMBER: "You are not in {name}. Join it first.",
    Why.NOT_IN_ROOM_OF_TOKEN: "You are not in the room that your token is for.",
    Why.INVITE_ONLY: "{room} is by invitation only, even for operators. Ask a member to invite you.",
    Why.NOT_YOUR_MESSAGE: "You can edit only your own messages.",
    Why.TOO_MANY_INVITATIONS_SENT: (
        "{most} of your invitations have not been accepted yet, the most there may be. Withdraw some first."
    ),
    Why.TOO_MANY_INVITATIONS_TO: "{name} has too many invitations already. Ask them to join one of the rooms first.",
    Why.TOO_MANY_INVITATIONS_BETWEEN: (
        "{name} has {most} invitations from you, the most there may be. Withdraw one first."
    ),
    Why.NEEDS_AN_OWNER: "{room} needs an owner. Make someone else an owner first.",
    Why.BANS_SELF: "You cannot ban yourself. To leave the room, use the command leave.",
    Why.BANS_OPERATOR: "{name} is an operator too, and cannot be banned.",
    Why.BLOCKS_SELF: "You cannot block yourself.",
    Why.TOO_MANY_BLOCKED: "You have blocked {most} accounts, the most there may be. Unblock one of them first.",
    Why.IGNORES_SELF: "You cannot ignore yourself.",
    Why.TOO_MANY_IGNORED: "You ignore {most} accounts, the most there may be. Stop ignoring one of them first.",
    Why.BOT_NAMED_BY_OTHERS: "A bot is named by the administrators of the server.",
    Why.NOT_ABOVE: "The role of {name} in {room} is not lower than yours.",
    Why.ONLY_OPERATORS: "Only operators of the server may do that. Ask one of them.",
    Why.BOT_HAS_NO_PASSWORD: "A bot has no password. The administrators of the server create tokens and erase it.",
    Why.NOT_FOR_GUESTS: "Guests can use only public rooms. Register to do that.",
    Why.TOO_MANY_ROOMS_OWNED: "You own {most} rooms, the most an account may own. Delete or leave one first.",
    Why.DEFAULT_ROOM: "{room} is a default room of this server. Ask one of its operators to delete it.",
    Why.PAST_BY_MEMBERS: "Only members of {room} may open its past. Ask one of its owners.",
    Why.NO_GUESTS: "This server does not admit guests. Register, or log in.",
    Why.BOT_NEEDS_TOKEN: "{name} is a bot, which has no password: use /token TOKEN.",
    Why.NO_OWNER_OF_BOTS: "A bot belongs to a person or an operator who can log in. Name one.",
    Why.TOO_MANY_PINS: "{most} messages are pinned there, which is the most. Unpin one first.",
    Why.IN_TOO_MANY_ROOMS_TO_RENAME: "You are in more than {most} rooms. Leave some before you change your name.",
    Why.TOO_MANY_FORMER_NAMES: "You have given up {most} names lately, which are kept for you. Take one of them back.",
    Why.TOO_MANY_TOKENS: "You have {most} tokens, and cannot have more. Revoke one first.",
    Why.DIRECT_WITH_SELF: "A direct room is for two people. Name someone else.",
    Why.NO_DIRECT_FOR_GUESTS: "Guests can use only public rooms. Register to talk in private.",
    Why.DIRECT_TO_GUEST: "Guests have no direct rooms. Write to them in a room that you share.",
    Why.DOUBTFUL_BAN: "{doubts} To ban it all the same, add --yes.",
    Why.ONLY_THEY_MAY: "Only {whose} of {room} may do that. Ask one of them.",
    Why.BARE_COMMAND: "Nothing was sent: did you mean /{command}? To say this line, use /say {room} LINE.",
    Why.SHOWS_SECRET: "Nothing was sent: this line contains a password or token that you typed.",
    Why.TOO_MANY_KINDS_OF_REACTIONS: (
        "The message {seq} has {most} different reactions, which is the most. Use one of them."
    ),
    Why.TOO_MANY_REACTIONS_GIVEN: "You give {most} reactions to the message {seq}, which is the most. Take one back.",
    Why.REACTED_TOO_OFTEN: "You have reacted to the message {seq} {most} times, which is the most.",
    Why.NOT_WITH_TOKEN: "You logged in with a token. Log in with the password to do that.",
    Why.NO_TOKEN_BY_TOKEN: (
        "You logged in with a token, which cannot create tokens. Log in with the password to do that."
    ),
    Why.TOKEN_READ_ONLY: "The token that you logged in with is read-only. Log in with the password to do that.",
    Why.TOKEN_FOR_ONE_ROOM: "The token that you logged in with is for one room. Log in with the password to do that.",
    Why.INVITED_IS_BANNED: "{name} is banned from {room}. Lift the ban first.",
    Why.BANNED_FROM_ROOM: "You are banned from {name}. Ask its moderators to lift the ban.",
    Why.BANNED: "You are banned from this server{reason:because}",
    Why.MUTED: "You are muted in {room}: for now you can only read there.",
    Why.INVITATIONS_BLOCKED: "{name} does not accept invitations from you.",
    Why.BLOCKED: "{name} does not accept messages from you.",
    Why.DIRECT_BY_MESSAGE: "You create a direct room by sending its first message.",
    Why.DIRECT_STAYS: "A direct room cannot be left or deleted.",
    Why.DIRECT_HAS_NO_TOPIC: "A direct room has no topic.",
    Why.DIRECT_HAS_NO_SETTINGS: "A direct room has no settings.",
    Why.DIRECT_HAS_NO_MODERATORS: (
        "A direct room has no moderators and no invitations: to stop messages, block the person."
    ),
    Why.DIRECT_HAS_NO_BANS: "A direct room has no bans.",
    Why.DIRECT_ERASES_OWN: "A direct room has no moderators: you can erase only your own messages.",
    Why.NOTHING_TO_SEARCH: "There is nothing to search for. Give at least one word.",
    Why.NO_TOKEN_CREATED: "No token was created.",
    Why.EMPTY_MESSAGE: "The message is empty. Nothing was sent.",
    Why.NO_REACTION: "A reaction is one word, for example +1.",
    Why.NO_DEVICE_NAME: "A kept session needs the name of your device.",
    Why.NO_TOKEN_LABEL: "A token needs a label that says what it is for.",
    Why.TOO_LONG_AMENDED: "A message can have at most {most} characters; this one would have {count}.",
    Why.TOO_MANY_LINES: "A message can have at most {most} lines; this one has {count}.",
    Why.TOO_LONG: "{what} can have at most {most} characters; this one has {count}.",
    Why.ID_CONFLICT: "You used this id for another message. Use a new id for each message.",
    Why.REGISTRATION_CLOSED: "Registration is closed. Log in with an existing account.",
    Why.NO_SUCH_ACCOUNT_CLOSED: "There is no such account, and registration is closed. Type another name.",
    Why.NO_SUCH_ACCOUNT_CODE: (
        "There is no such account, and registration needs a code: /register NAME PASSWORD code=CODE"
    ),
    Why.WRONG_CODE: "The registration code is missing or wrong. Ask the server's operators for it.",
    Why.TLS_REQUIRED: "Passwords and tokens are not accepted without TLS here. Connect with TLS.",
    Why.TLS_REQUIRED_AT: "Passwords and tokens are not accepted without TLS here. Connect with TLS to {ports}.",
    Why.TLS_REQUIRED_TYPED: "Passwords need TLS here. Ask the server's operators where to connect with it.",
    Why.TLS_REQUIRED_TYPED_AT: "Passwords need TLS here: openssl s_client -quiet -connect HOST:{port}",
    Why.TOO_MANY_NEW_PEOPLE: "You have written to {most} new people within an hour. Try again in {minutes} min.",
    Why.TOO_MANY_ROOMS_CREATED: "You have created {most} rooms within an hour. Try again in {minutes} min.",
    Why.TOO_MANY_GUESTS: (
        "Too many guests from your {place} are connected. Register, or try again once one of them has left."
    ),
    Why.TOO_MANY_SEARCHES: "Many searches are under way. Try again in a moment.",
    Why.JOINED_TOO_OFTEN: "You have joined {room} too often. Join it again in {seconds} s.",
    Why.RENAMED_TOO_OFTEN: "You have changed your name {most} times within a day. Try again in {hours} h.",
    Why.SEARCH_TOO_LONG: "The search takes too long. Search in one room, or for rarer words.",
    Why.TOO_MANY_LOGINS: "Too many people are logging in just now. Try again in a few seconds, or use a token.",
    Why.SLOW_MODE: (
        "In {room} each member may send one message every {seconds} s. Nothing was sent: wait, then send it again."
    ),
    Why.SLOW_CHANGES: (
        "In {room} each member may send or change something once every {seconds} s. Nothing was changed: wait, then do "
        "it again."
    ),
    Why.TOO_MANY_FAILED_LOGINS: "Too many failed logins from your {place}. Try again in {time}.",
    Why.TOO_MANY_GUESSES_AT_NAME: (
        "Too many wrong passwords for this {place}. Try again in {time}, or from where you have logged in before."
    ),
    Why.TOO_MANY_NAMES_TRIED: "Too many names were tried from your {place}. Try again in {time}.",
    Why.TOO_MANY_REGISTERED: "Too many accounts were registered from your {place}. Try again in {time}.",
    Why.NOBODY_WAITS: "The connection has ended.",
    Why.READING_TOO_LONG: "Reading this takes too long. Ask for less at once, or try again in a moment.",
    Why.UNAVAILABLE: "The server cannot reach its database. Try again in a moment.",
    Why.ROOM_BUSY: "The room is busy: another program is changing it. Try again in a moment.",
    Why.DATABASE_BUSY: "The database is busy: another program is changing it. Try again in a moment.",
    Why.FAULT: "Something went wrong in the server; its log has the details. Try again.",
    Why.TURNED_AWAY: "{text}",
    # Parts of refusals
    Note.A_MESSAGE: "A message",
    Note.A_TOPIC: "A topic",
    Note.A_REASON: "A reason",
    Note.AN_AWAY_TEXT: "An away text",
    Note.A_SEARCH: "A search",
    Note.A_REACTION: "A reaction",
    Note.A_DISPLAY_NAME: "A display name",
    Note.A_LABEL: "A label",
    Note.A_DEVICE_NAME: "The name of a device",
    Note.A_FIELD: "A {field}",
    Note.ADDRESS: "address",
    Note.NETWORK: "network",
    Note.NAME: "name",
    Note.MODERATORS: "moderators and owners",
    Note.OWNERS: "owners",
    Note.MEMBERS: "members",
    Note.SECONDS: "{count} seconds",
    Note.MINUTES: "{count} minutes",
    Note.DID_YOU_MEAN: "Did you mean {near}?",
    Note.CANNOT_CLEAR: "Only your terminal can clear its screen.",
    Note.HELP_LISTS: "/help lists the commands.",
    # What follows a refusal
    Note.KEPT: "Your line is kept: /retry sends it again.",
    Note.KEPT_FOR_A_WHILE: "Your line is kept until you say something else there: /retry sends it again.",
    Note.FIRST_LINE_DROPPED: "No more than {most} lines are kept, so the first one was dropped.",
    Note.FORGOTTEN: "Forgotten? Ask {contact}.",
    # What commands have done
    Note.PASSWORD_CHANGED_ALL: "You changed your password. Other connections ended; tokens revoked: {revoked}.",
    Note.ERASED: "Your account is erased.",
    Note.TOKEN_REVOKED: "You revoked the token.",
    Note.SESSION_ENDED: "You ended the session.",
    Note.SESSIONS_ENDED: "Sessions ended: {ended}.",
    Note.EDITED_MESSAGE: "You edited the message.",
    Note.EDITED_NOW: "You edited #{seq}, which now says: {text}",
    Note.ERASED_MESSAGE: "You erased the message.",
    Note.EDITED: "You edited #{seq}, which said: {text}",
    Note.SAME_TEXT: "This is the text of the message already.",
    Note.ERASED_LAST: "You erased #{seq}, which said: {text}",
    Note.ERASED_ALREADY: "The message is erased already.",
    Note.HERE: "The server is here.",
    Note.FITTED: "On this connection, lines have at most {columns} columns now.",
    Note.PASTE: "Type or paste the lines of one message, and then a line with only a dot.",
    Note.PRIVATE_LINE: "Only you and {name} see that. /r TEXT answers.",
    Note.NOTHING_KEPT: "There is nothing to send again.",
    Note.AWAY: "You are away: {text}",
    Note.BACK: "You are back.",
    Note.INVITED: "You invited {name} to {room}.",
    Note.INVITATION_WITHDRAWN: "You withdrew {name}'s invitation to {room}.",
    Note.ALREADY_IN_ROOM: "{name} is already in {room}.",
    Note.ROLE_SET: "You set {name}'s role in {room} to {role}.",
    Note.KICKED: "You kicked {name} from {room}.",
    Note.BANNED: "You banned {name} from {room}.",
    Note.UNBANNED: "{name} can join {room} again.",
    Note.MUTED: "You muted {name} in {room}.",
    Note.UNMUTED: "{name} can write in {room} again.",
    Note.ROLE_IS_ALREADY: "{name}'s role in {room} is already {role}.",
    Note.BANNED_ALREADY: "{name} is banned from {room} already.",
    Note.BANNED_FROM_SERVER: "You banned {who} from the server.",
    Note.MUTED_ALREADY: "{name} is muted in {room} already.",
    Note.NOT_MUTED: "{name} is not muted in {room}.",
    Note.BAN_LIFTED: "You lifted the ban.",
    Note.IGNORED: "You are not shown what {name} says any more. /unignore {name} undoes this.",
    Note.UNIGNORED: "You are shown what {name} says again.",
    Note.BLOCKED: "You blocked {name}'s direct messages and invitations. /unblock {name} undoes this.",
    Note.UNBLOCKED: "You unblocked {name}.",
    Note.PINNED: "You pinned #{seq}.",
    Note.UNPINNED: "You unpinned #{seq}.",
    Note.PINNED_ALREADY: "#{seq} is pinned already.",
    Note.NOT_PINNED: "#{seq} is not pinned.",
    Note.REACTED: "You reacted {word} to #{seq}.",
    Note.REACTION_TAKEN_BACK: "You took back {word} from #{seq}.",
    Note.REACTED_ALREADY: "You react {word} to #{seq} already.",
    Note.NOT_REACTED: "You do not react {word} to #{seq}.",
    Note.ROOM_DELETED: "You deleted {room}.",
    Note.TOPIC_REMOVED: "The topic of {room} is removed.",
    Note.SETTINGS_CHANGED: "You changed the settings of {room}.",
    Note.SAME_TOPIC: "This is the topic of {room} already.",
    Note.SAME_SETTINGS: "These are the settings of {room} already.",
    Note.READ_ALL: "You have read everything.",
    Note.READ_ALL_IN_ROOM: "You have read everything in {label}.",
    Note.PASSWORD_CHANGED: "You changed your password.",
    Note.TOKENS_STILL_WORK: "Tokens that still work: {valid}. See /token list.",
    Note.KEPT_SESSIONS_ENDED: "Devices that need it to log in again: {ended}.",
    Note.CERTIFICATES_REMOVED: "Certificates removed: {removed}.",
    Note.SENDING_AGAIN: "Sending {count} line{count:s} again.",
    # Questions and greetings
    Note.ASK_PASSWORD_FOR_TOKEN: "Type your password to create the token, or press Enter to leave it.",
    Note.ASK_NAME: "Type your name to log in, or /help.",
    Note.ASK_TO_REGISTER: "{name} is new here. Register it? (yes/no)",
    Note.ASK_NEW_PASSWORD: "Choose a password of at least {least} characters:",
    Note.ASK_AGAIN: "Type it again:",
    Note.CERTIFICATE_LOGS_IN: "You need no password: your certificate {label} logs you in.",
    Note.WELCOME: "Welcome to {server}. Type your name to log in, or /help.",
    Note.ASK_PASSWORD: "Type the password of {name}, or press Enter to pick another name.",
    Note.HELLO_ASK_PASSWORD: "Hello {name}. Type your password, or press Enter to pick another name.",
    Note.DATABASE_BACK: "The database is back.",
    Note.RETRY_SENDS: "/retry sends what you said meanwhile: {count} line{count:s}.",
    Note.EDITOR: "To edit what you type, connect with: {command}",
    # Why connections end, or do not begin
    Note.STOPPING: "The server is about to stop; nothing is lost.",
    Note.ERASED_GOODBYE: "Your account is erased. Goodbye.",
    Note.PASSWORD_WAS_CHANGED: "Your password was changed.",
    Note.TOKEN_WAS_REVOKED: "The token that you logged in with was revoked.",
    Note.SESSION_WAS_ENDED: "The session of this device was ended.",
    Note.SESSION_WAS_COPIED: (
        "Somebody used an old secret of this session, which may have been copied, so the session was ended."
    ),
    Note.LOGGED_OUT: "You are logged out. Goodbye.",
    Note.TOKEN_EXPIRED: "The token that you logged in with has expired.",
    Note.READ_NOTHING: "You read nothing for too long.",
    Note.SENT_NOTHING: "You sent nothing for too long.",
    Note.TOO_MANY_STRIKES: "Too many of your commands were refused. Correct them.",
    Note.REWOUND: "The database was restored to an earlier state.",
    Note.TAKEN_OVER: "Another server takes over; nothing is lost.",
    Note.TYPED_NOTHING: "You typed nothing for too long.",
    Note.NOT_LOGGED_IN_IN_TIME: "You did not log in in time.",
    Note.SENT_TOO_MUCH: "You sent too much before logging in.",
    Note.TOO_MANY_OF_ACCOUNT: (
        "Your account has more than {most} connections, and this was the oldest one. Close others."
    ),
    Note.CROWDED: "Too many connections are waiting to log in; yours made way for a newer one.",
    Note.RESTARTING: "The server is restarting; nothing is lost.",
    Note.DISABLED: "The operators of this server disabled your account.",
    Note.CERTIFICATE_WAS_REMOVED: "The certificate that you logged in with was removed.",
    Note.FENCED: "The server was interrupted and starts anew.",
    Note.FAULT: "Something went wrong in the server; its log has the details.",
    Note.FAILED_LOGINS: "Too many failed logins.",
    Note.YOU_ARE_BANNED: "You are banned from this server{reason:because}",
    Note.ADDRESS_IS_BANNED: "Your address is banned from this server{reason:because}",
    Note.KICKED_BY_ADMINISTRATOR: "An administrator ended your connection{reason:because}",
    Note.AS_WRITTEN: "{text}",
    Note.GOODBYE: "Goodbye.",
    Note.LEAVE: "Press Enter to leave.",
    Note.COME_BACK: "Press Enter, then connect again.",
    Note.TURNED_AWAY: "{problem} Try again in {seconds} second{seconds:s}. (too-many-connections)",
    Note.OFFENCES: "There were too many failed attempts from your {place}.",
    Note.ADDRESS_RATE: "Your {place} opens too many connections.",
    Note.ADDRESS_FULL: "There are too many connections from your {place}. Close one first.",
    Note.SERVER_FULL: "The server has too many connections.",
}
"""Templates: `{name}` is a field of the sentence, `{reason:because}` the end of a sentence that may have a reason, and
`line{count:s}` one line or several lines."""


class Filler(Formatter):
    """Fills sentences of one dialect. Fields are data: nothing in them is taken for a template."""

    def __init__(self, sentences: Mapping[Why | Note, str]) -> None:
        self._sentences = sentences

    def text(self, sentence: Sentence) -> str:
        first = self.vformat(self._sentences[sentence.key], (), sentence.fields)
        return " ".join([first, *map(self.text, sentence.more)])

    def format_field(self, value: Any, format_spec: str) -> str:
        match value, format_spec:
            case _, "because":
                return because(value)
            case _, "s":
                return "s" if value > 1 else ""
            case Note(), _:
                return self._sentences[value]
            case Sentence(), _:
                return self.text(value)
        return str(value)


english: Final = Filler(SENTENCES).text
"""The text of a sentence for programs, and for operators."""


# What to do once a connection has ended

AGAIN: Final = "connect again"

THEN: Final = {
    "logout": "",
    "erased": "",
    "banned": "",
    "disabled": "",
    "kicked": "",
    "handshake": "connect again and log in right away",
    "failed-logins": "connect again when you have the password",
    "password": "connect again with the new one",
    "token-revoked": "connect again with another one",
    "token-expired": "connect again with another one",
    "certificate-removed": "connect again with your password",
    "session-ended": "connect again with your password",
    "stalled": "connect again to continue",
    "rewound": "connect again to see it",
}
"""The end of a sentence, by reason; "" where connecting again is of no use, or unwanted. Other reasons: AGAIN."""


def for_programs(reason: str, sentence: Sentence) -> str:
    """The text of an end, with the remedy. Reasons: see `events.Closing`."""
    text = english(sentence)
    then = THEN.get(reason, AGAIN)
    return f"{text} {then[0].upper()}{then[1:]}." if then else text


def for_people(reason: str, text: str, contact: str = "", kept: int = 0) -> str:
    """The text of an end for people. `contact`: whom they can ask, if known. `kept`: number of their lines that waited
    for /retry."""
    if kept:
        text = f"{text} {kept} line{'s' if kept > 1 else ''} that you said could not be sent."
    if reason in ("banned", "disabled") and contact:
        text = f"{text} Ask {contact} about it."
    then = THEN.get(reason, AGAIN)
    return f"{text} Press Enter, then {then}." if then else f"{text} {SENTENCES[Note.LEAVE]}"
