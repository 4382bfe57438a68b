#!/bin/sh
# Posts one line to a room, for example from cron. Its status is 0 once the line is stored:
#
#     CHAT_TOKEN=ct_... ./post.sh general "Backup of $(hostname) is done."
#
# It needs nc that can close its sending side (-N in OpenBSD's; set NC for others). CHAT_HOST and CHAT_PORT name the
# server. It tries once: where a line must neither be lost nor be posted twice, use post.py, which sends an id.

room=${1:?usage: post.sh ROOM TEXT}
text=${2:?usage: post.sh ROOM TEXT}

# A line end in the text would begin another command.
text=$(printf '%s' "$text" | tr -s '\r\n' '  ')

answer=$(printf '/token %s\n/say %s %s\n' "${CHAT_TOKEN:?}" "$room" "$text" |
    ${NC:-nc -N} "${CHAT_HOST:-localhost}" "${CHAT_PORT:-4000}")

if printf '%s' "$answer" | tail -n 1 | grep -q '^\* Stored as '; then
    exit 0
fi
printf '%s\n' "${answer:-There was no answer.}" >&2  # cron sends it by mail
exit 1
