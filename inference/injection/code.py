"""Code that a text wants to have built in, and what it would do where it runs."""

from __future__ import annotations

import re
from typing import Final

_PIECE: Final = r"(?:code|script|function|snippet|program)(?:[ -](?:snippet|block|excerpt|section|segment|fragment|piece|sample|chunk|portion|passage|lines?|base))?"
_WHICH: Final = r"(?:following|subsequent|below|given|provided|presented|ensuing|upcoming|next|this|attached|aforementioned|succeeding)"
_BUILD_IN: Final = re.compile(
    rf"\b(?:{_WHICH})\b[^.!?\n]{{0,24}}\b(?:{_PIECE})\b|\b(?:{_PIECE})\b[^.!?\n]{{0,16}}\b(?:below|that follows|as follows)\b",
    re.IGNORECASE,
)
_INTO_ANSWER: Final = re.compile(
    r"\byour (?:\w+ ){0,2}?(?:solution|answer|response|reply|implementation|output|elucidation|explanation|algorithm|suggestion|generated code|work|result)\b",
    re.IGNORECASE,
)
_INTO_CODE: Final = re.compile(
    r"\byour (?:\w+ ){0,2}?(?:code|codebase|code base|program|project|script|application|programming|software)\b|\binto the (?:code|solution)\b",
    re.IGNORECASE,
)
# Kinds of things that code does to the machine it runs on.
_DOES: Final[tuple[tuple[str, float, re.Pattern[str]], ...]] = (
    ("sends", 0.9, re.compile(
        r"requests\.(?:post|put|request|Session)|urlopen|urllib3?\.|http\.client|httpx?\.(?:post|put)|aiohttp|\bsocket\b|sendall|smtplib|sendmail|ftplib|paramiko|\bscp\b|telnetlib"
        r"|bluetooth|\bcurl\b|\bwget\b|fetch\(|XMLHttpRequest|sendBeacon|websocket|boto3|asyncssh|fsockopen|Net::HTTP|Invoke-WebRequest|sms|twilio|email\.mime|\bmail\("
    )),
    ("fetches", 0.3, re.compile(r"requests\.get|urlretrieve|http\.get|download", re.IGNORECASE)),
    ("reads", 0.9, re.compile(
        r"os\.environ|getenv|process\.env|cookie|/etc/(?:passwd|shadow)|\.ssh\b|\.aws\b|keyring|getpass|password|credential|clipboard|pyperclip|history|/proc/|trash|recycle"
        r"|platform\.(?:uname|node|system|platform|processor|version|machine)|getnode|gethostname|psutil|winreg|wmi|usb\.|sounddevice|cpuinfo|netifaces|browser|Login Data|document\.cookie|localStorage|glob\(|os\.walk|listdir",
        re.IGNORECASE,
    )),
    ("watches", 1.2, re.compile(r"pynput|keyboard\.|keylog|pyautogui|ImageGrab|screenshot|\bmss\b|VideoCapture|pyaudio|sniff\(|scapy|pyshark|pcap|GetAsyncKeyState|SetWindowsHookEx|dpkt")),
    ("runs", 0.7, re.compile(r"subprocess|os\.system|os\.popen|os\.exec|\bexec\(|\beval\(|child_process|Runtime\.getRuntime|pty\.spawn|ShellExecute|\bsh -c\b|/bin/(?:ba)?sh|cmd\.exe|powershell", re.IGNORECASE)),
    ("destroys", 1.2, re.compile(
        r"shutil\.(?:rmtree|move)|os\.(?:remove|unlink|rmdir|rename|kill|truncate)|\brm -rf?\b|mkfs|\bdd if=|\bformat\(?[\"' ]?c:|shutdown|reboot|killall|taskkill|iptables|DROP (?:TABLE|DATABASE)|wipe|shred|Fernet|encrypt|flood|fork\(\)",
        re.IGNORECASE,
    )),
    ("reaches_in", 1.2, re.compile(
        r"ctypes|ReadProcessMemory|WriteProcessMemory|OpenProcess|VirtualAlloc|pymem|ptrace|/dev/mem|\bmmap\b|gc\.get_objects|metasploit|pwn\b|pwntools|shellcode|exploit|payload|nmap|masscan|sqlmap|\\x90|buffer|overflow|\bCVE-"
        r"|modbus|scada|\bplc\b|s7comm|snap7|opcua|bacnet|dnp3|\bgrid\b|pickle\.loads|yaml\.load\(|setuid|chmod (?:777|\+s)|sudo|LD_PRELOAD|authorized_keys|crontab|startup",
        re.IGNORECASE,
    )),
    ("mines", 1.4, re.compile(r"xmrig|stratum|\bminer?\b|mining|cryptonight|nicehash|ethminer|hashrate|monero|bitcoin|wallet|nonce|blockchain|cgminer|minerd|cpuminer", re.IGNORECASE)),
)  # fmt: skip
_LINES: Final = re.compile(
    r"^\s*(?:import |from \w+(?:\.\w+)* import |def |class |function |var |let |const |#include|using |\$\w+ ?=|\w+(?:\.\w+)* ?= ?\w+|\w+(?:\.\w+)*\()",
    re.MULTILINE,
)
_BUILD_POINTS: Final = 2.4
_ANSWER_POINTS: Final = 1.4
_CODE_POINTS: Final = 0.8
_MAX_DOES: Final = 2.6


def build_in_points(text: str) -> float:
    """Points of a sentence that wants code to be built in; 0 if it does not."""
    if _BUILD_IN.search(text) is None:
        return 0.0
    into = _ANSWER_POINTS if _INTO_ANSWER.search(text) else _CODE_POINTS if _INTO_CODE.search(text) else 0.0
    return _BUILD_POINTS + into


def code_points(text: str) -> float:
    """Points of a block of code: for each kind of thing that it does to its machine."""
    return min(_MAX_DOES, sum(points for _, points, pattern in _DOES if pattern.search(text) is not None))


def looks_like_code(text: str) -> bool:
    """Whether lines of a text are code, though no fence says so."""
    return len(_LINES.findall(text)) >= 2
