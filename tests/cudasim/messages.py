#!/usr/bin/env python3
"""messages.py SAID SOURCE... - the messages of the simulator (arguments of sim_report and its like in SOURCE) that are not in the file SAID, one a
line; exit code 1 when there are any. Left out: what is not simulated (it stops with its name), the machine's and the settings' own trouble,
and what says itself that it cannot be."""
import re
import sys

CALL = re.compile(r'\b(?:sim_report|sim_fatal|report_at|fatal_at|return)\b[^;{}"]*((?:"(?:[^"\\]|\\.)*"|[^;{}"])*);')
LITERAL = re.compile(r'"((?:[^"\\]|\\.)*)"')
CONVERSION = re.compile(r"%[-.*0-9]*(?:ll|l|z)?[a-z]")
LEFT_OUT = re.compile(
    "is not simulated|only the number of nodes|more than %d tensors|"  # beyond the simulator
    "^no memory|^cannot map|^cannot make|^no shared memory|device description|^CUDASIM_|^the real cuDNN has no|is compressed|without PTX|"
    "is not in its module|bytes of parameters|without attribute|variant pack of %lld tensors|that no heuristic|"
    "^deadlock$|^deadlock: (a stream|an event)|has a cycle|past its %zu bytes|jump past the end of its table|"  # CUDA's rules exclude it
    "is virtual and read before"  # cuDNN refuses such a graph
)


def messages(source):
    text = re.sub(r"/\*.*?\*/", "", source, flags=re.S)
    for call in CALL.finditer(text):
        joined = re.sub(r'"\s*"', "", call.group(0))
        for literal in LITERAL.findall(joined):
            if " " in literal and (not call.group(0).startswith("return") or literal.startswith(("race", "read"))):
                yield literal


def main(said, sources):
    with open(said, encoding="utf-8", errors="replace") as file:
        heard = file.read()
    missing = []
    for path in sources:
        with open(path, encoding="utf-8") as file:
            for message in messages(file.read()):
                pattern = ".*".join(re.escape(part) for part in CONVERSION.split(message))
                if not LEFT_OUT.search(message) and not re.search(pattern, heard):
                    missing.append(message)
    print("\n".join(missing))
    return len(missing) > 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
