"""Commands that people may try in a room."""

from chatserver import commands as c

MINUTE = 60


def acts(room: str, own: int = 1, anothers: int = 1, guest: str = "~1") -> dict[str, c.Command]:
    """The commands, by name. `own` is the seq of a message by the person who tries them, `anothers` of another one."""
    return {
        "join": c.Join(room=room),
        "join since": c.Join(room=room, since=0),
        "look": c.Look(room=room),
        "leave": c.Leave(room=room),
        "delete": c.Delete(room=room),
        "set": c.Set(room=room, invites="moderators"),
        "set pace": c.Set(room=room, pace=MINUTE),
        "open the past": c.Set(room=room, past="open"),
        "topic": c.Topic(room=room, text="news"),
        "say": c.Say(room=room, text="hello"),
        "say with an id": c.Say(room=room, text="hello", id="1"),
        "edit": c.Edit(room=room, seq=own, text="better words"),
        "edit another's": c.Edit(room=room, seq=anothers, text="better words"),
        "edit what is no message": c.Edit(room=room, seq=10**6, text="better words"),
        "erase": c.Erase(room=room, seq=own),
        "erase another's": c.Erase(room=room, seq=anothers),
        "read": c.Read(room=room, seq=1),
        "history": c.History(room=room),
        "history before and after": c.History(room=room, before=1, after=1),
        "search": c.Search(text="words", room=room),
        "search for nothing": c.Search(text="...", room=room),
        "members": c.Members(room=room),
        "invite": c.Invite(room=room, name="stray"),
        "invite who blocks": c.Invite(room=room, name="pal"),
        "invite who is banned": c.Invite(room=room, name="bait"),
        "invite who is in": c.Invite(room=room, name="prey"),
        "invite the guest": c.Invite(room=room, name=guest),
        "invite nobody": c.Invite(room=room, name="nobody"),
        "uninvite": c.Uninvite(room=room, name="asked"),
        "uninvite who is not": c.Uninvite(room=room, name="stray"),
        "role": c.Role(room=room, name="prey", role="moderator"),
        "role of the last owner": c.Role(room=room, name="owner", role="member"),
        "role of who is out": c.Role(room=room, name="stray", role="moderator"),
        "kick": c.Kick(room=room, name="prey"),
        "kick a moderator": c.Kick(room=room, name="deputy"),
        "kick who is out": c.Kick(room=room, name="stray"),
        "ban": c.Ban(room=room, name="prey", seconds=MINUTE),
        "ban a moderator": c.Ban(room=room, name="deputy"),
        "ban the operator": c.Ban(room=room, name="operator"),
        "ban who is out": c.Ban(room=room, name="stray"),
        "unban": c.Unban(room=room, name="bait"),
        "unban who is not": c.Unban(room=room, name="stray"),
        "bans": c.Bans(room=room),
        "mute": c.Mute(room=room, name="prey", seconds=MINUTE),
        "mute a moderator": c.Mute(room=room, name="deputy"),
        "mute who is out": c.Mute(room=room, name="stray"),
        "unmute": c.Unmute(room=room, name="muted"),
    }
