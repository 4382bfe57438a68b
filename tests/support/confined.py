"""Runs a program under the filters of deploy/chatserver.service, as systemd would: system calls and address families.

Usage: python confined.py FILTER PROGRAM ARGUMENT..., where FILTER is a file with the names of the allowed system calls.
"""

import ctypes
import errno
import os
import socket
import sys
from pathlib import Path

ALLOW = 0x7FFF0000
ERRNO = 0x00050000
EQUAL = 4


class Compare(ctypes.Structure):
    """struct scmp_arg_cmp of seccomp_rule_add(3)."""

    _fields_ = (("arg", ctypes.c_uint), ("op", ctypes.c_int), ("a", ctypes.c_uint64), ("b", ctypes.c_uint64))


def confine(allowed: list[str]) -> None:
    """Confines this process and its children. Raises OSError."""
    lib = ctypes.CDLL("libseccomp.so.2", use_errno=True)
    lib.seccomp_init.restype = ctypes.c_void_p
    context = ctypes.c_void_p(lib.seccomp_init(ctypes.c_uint32(ERRNO | errno.EPERM)))
    for name in allowed:
        number = lib.seccomp_syscall_resolve_name(name.encode())
        if number >= 0 and name != "socket":
            check(lib.seccomp_rule_add_array(context, ctypes.c_uint32(ALLOW), number, 0, None))
    number = lib.seccomp_syscall_resolve_name(b"socket")
    for family in (socket.AF_INET, socket.AF_INET6, socket.AF_UNIX):
        check(
            lib.seccomp_rule_add_array(
                context, ctypes.c_uint32(ALLOW), number, 1, ctypes.byref(Compare(0, EQUAL, family, 0))
            )
        )
    check(lib.seccomp_load(context))


def check(result: int) -> None:
    if result:
        raise OSError(-result, os.strerror(-result))


if __name__ == "__main__":
    confine(Path(sys.argv[1]).read_text(encoding="utf-8").split())
    os.execv(sys.argv[2], sys.argv[2:])
