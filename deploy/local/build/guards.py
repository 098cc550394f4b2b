"""Takes each guard out of each writing statement once, and runs the tests: one of them must fail.

Called by `guards`. The statements are read and changed on their way to PostgreSQL, by a proxy that understands just as much
of its protocol: the program under test is the one that was built, and nothing of it knows of this. A guard is a term of
a WHERE (a token, a revision, a state), a count that `all_or_nothing` compares, SKIP LOCKED, or a CHECK of a table.
"""

import argparse
import json
import os
import re
import socket
import struct
import subprocess
import sys
import threading
import time
from urllib.parse import urlsplit

STARTUP = 196608
AT_ONCE = 6
GUARD_CHARS_MAX = 100
# What may follow UPDATE and names no table.
WORDS = {"OF", "SET", "SKIP", "o"}
WRITING = re.compile(r"\b(INSERT INTO|UPDATE \w+ |DELETE FROM|FOR UPDATE)\b", re.IGNORECASE)
TOKEN = re.compile(r"'(?:[^']|'')*'|--[^\n]*|\w+|[()]|[^\w\s()']")
# What ends a list of terms, at its own depth.
ENDS = {"GROUP", "ORDER", "LIMIT", "RETURNING", "FOR", "ON", "WINDOW", "UNION", "OFFSET", "JOIN", "LEFT", "SET",
        "FROM", "WHERE", "DO", "HAVING", "WHEN", "THEN", "ELSE", "END"}
# An equation of two of these says which rows belong together, and guards nothing.
KEYS = "order_key|key|command_key|sequence|event_id"
JOIN = re.compile(rf"^(\w+\.)?({KEYS}) = (\w+\.)?({KEYS})$")


def tidy(sql):
    return " ".join(sql.split())


def terms(sql):
    """The terms of every WHERE, JOIN and all_or_nothing: where each begins and ends."""
    tokens = [(m.group().upper(), m.start(), m.end()) for m in TOKEN.finditer(sql) if not m.group().startswith("--")]
    for at, (word, _, _) in enumerate(tokens):
        if word == "WHERE" or word == "ON" and tokens[at + 1][0] != "CONFLICT":
            yield from split(tokens, at + 1)
        elif word == "ALL_OR_NOTHING":
            yield from split(tokens, at + 2)


def split(tokens, at):
    depth, start, between, end = 0, at, False, at
    while at < len(tokens):
        word = tokens[at][0]
        if word == "(":
            depth += 1
        elif word == ")":
            depth -= 1
            if depth < 0:
                break
        elif depth == 0 and word in ENDS or word == ";":
            break
        elif depth == 0 and word == "BETWEEN":
            between = True
        elif depth == 0 and word == "AND":
            if not between:
                if at > start:
                    yield tokens[start][1], tokens[at - 1][2]
                start = at + 1
            between = False
        at += 1
        end = at
    if end > start:
        yield tokens[start][1], tokens[end - 1][2]


def mutants(sql):
    """Each guard of a statement, and the statement without it."""
    for begin, end in terms(sql):
        term = sql[begin:end]
        if not JOIN.match(tidy(term)):
            yield tidy(term), sql[:begin] + f"(true OR ({term}))" + sql[end:]
    for found in re.finditer(r"\s+SKIP LOCKED", sql):
        yield "SKIP LOCKED", sql[: found.start()] + sql[found.end():]


class Proxy:
    """Between the tests and PostgreSQL; it keeps what is written through it, and changes one statement."""

    def __init__(self, target):
        self.target, self.seen, self.change = target, set(), None
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            client, _ = self.listener.accept()
            threading.Thread(target=self.carry, args=(client,), daemon=True).start()

    def carry(self, client):
        try:
            server = socket.create_connection(self.target)
        except OSError:
            client.close()
            return
        for end in (client, server):
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        threading.Thread(target=pump, args=(server, client), daemon=True).start()
        try:
            self.requests(client, server)
        except OSError:
            pass
        close(client, server)

    def requests(self, client, server):
        buffer, started = b"", False
        while True:
            head = 5 if started else 4
            while len(buffer) >= head:
                length = struct.unpack("!I", buffer[head - 4:head])[0] + head - 4
                if len(buffer) < length:
                    break
                message, buffer = buffer[:length], buffer[length:]
                if started:
                    message = self.rewritten(message)
                else:
                    started = struct.unpack("!I", message[4:8])[0] == STARTUP
                server.sendall(message)
            part = client.recv(65536)
            if not part:
                return
            buffer += part

    def rewritten(self, message):
        if message[:1] != b"P":
            return message
        name, sql, rest = message[5:].split(b"\0", 2)
        text = sql.decode()
        if WRITING.search(text):
            self.seen.add(text)
        if self.change is None or self.change[0] != text:
            return message
        body = name + b"\0" + self.change[1].encode() + b"\0" + rest
        return b"P" + struct.pack("!I", len(body) + 4) + body


def pump(source, sink):
    try:
        while part := source.recv(65536):
            sink.sendall(part)
    except OSError:
        pass
    close(source, sink)


def close(*ends):
    for end in ends:
        try:
            end.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        end.close()


class Run:
    def __init__(self, arguments):
        self.arguments = arguments
        url = urlsplit(arguments.database)
        self.proxy = Proxy((url.hostname, url.port))
        self.through = arguments.database.replace(f":{url.port}/", f":{self.proxy.port}/")
        self.senders = {}  # of each statement: the tests that send it, in the order of how long they take

    def tests(self, database, tests):
        """Runs some; gives the first that failed."""
        command = [self.arguments.tests, "--exact", *tests]
        environment = {**os.environ, "DATABASE_URL": database}
        try:
            done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=self.arguments.timeout)
        except subprocess.TimeoutExpired:
            return f"{tests[0]} (time ran out)" if len(tests) == 1 else "(time ran out)"
        failed = re.findall(r"^test (\S+) \.\.\. FAILED", done.stdout, re.MULTILINE)
        return failed[0] if failed else (None if done.returncode == 0 else "(ended)")

    def until_one_fails(self, database, tests):
        """A few at a time: most guards are missed by one of the first."""
        for at in range(0, len(tests), AT_ONCE):
            failed = self.tests(database, tests[at:at + AT_ONCE])
            if failed:
                return failed
        return None

    def look(self):
        """Runs each test by itself, unchanged, to see what it sends."""
        names = subprocess.run([self.arguments.tests, "--list", "--format", "terse", *self.arguments.filter],
                               check=True, capture_output=True, text=True).stdout
        took = {}
        for name in [line.removesuffix(": test") for line in names.splitlines() if line.endswith(": test")]:
            self.proxy.seen, started = set(), time.monotonic()
            # Beside other work one may fail once.
            if self.tests(self.through, [name]) and self.tests(self.through, [name]):
                # It may look at what another session of the server does, or at the time.
                print(f"left out: {name} fails as it is", file=sys.stderr, flush=True)
                continue
            took[name] = time.monotonic() - started
            for sql in self.proxy.seen:
                self.senders.setdefault(sql, []).append(name)
        for tests in self.senders.values():
            tests.sort(key=took.get)
        self.all = sorted(took, key=lambda name: ("schema" not in name, took[name]))
        print(f"{len(took)} tests pass as it is, in {sum(took.values()):.0f} s", file=sys.stderr, flush=True)

    def sql(self, statement, database="postgres"):
        url = urlsplit(self.arguments.database)._replace(path=f"/{database}").geturl()
        command = [self.arguments.psql, "-XqtA", "-v", "ON_ERROR_STOP=1", "-d", url, "-c", statement]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    def checks(self):
        """Every CHECK of the migrated database that the tests copy."""
        template = self.sql("SELECT datname FROM pg_database WHERE datname LIKE 'jenius_template%' LIMIT 1")
        rows = self.sql("SELECT json_build_array(conrelid::regclass::text, conname, pg_get_constraintdef(oid))::text"
                        " FROM pg_constraint WHERE contype = 'c' AND connamespace = 'public'::regnamespace"
                        " ORDER BY conrelid::regclass::text, conname", template)
        return template, [json.loads(row) for row in rows.splitlines()]

    def without_check(self, template, table, name, definition):
        self.sql(f"ALTER TABLE {table} DROP CONSTRAINT {name}", template)
        try:
            return self.until_one_fails(self.arguments.database, self.all)
        finally:
            self.sql(f"ALTER TABLE {table} ADD CONSTRAINT {name} {definition}", template)

    def without_guard(self, sql, without):
        self.proxy.change = (sql, without)
        tests = self.senders[sql]
        failed = self.until_one_fails(self.through, tests)
        if failed in tests:
            # It looks at what this statement does: the next guard may be its own too.
            tests.sort(key=lambda test: test != failed)
        return failed


def product_statements(run, own):
    """What the tests write by themselves is left out: it stands in their own files. Each with a name."""
    theirs = tidy(" ".join(open(path, encoding="utf-8").read() for path in own))
    named = {}
    for sql in sorted(run.senders):
        if tidy(sql) not in theirs:
            verbs = re.findall(r"\b(INSERT INTO|UPDATE|DELETE FROM) (\w+)", sql)
            what = ", ".join(dict.fromkeys(f"{verb.split()[0]} {table}" for verb, table in verbs if table not in WORDS))
            what = what or "SELECT … FOR UPDATE"
            count = sum(name.split(" #")[0] == what for name in named)
            named[f"{what} #{count + 1}" if count else what] = sql
    return named


def table(judgements):
    """A row for each statement, and what no test missed."""
    statements = {}
    for name, failed in judgements:
        statement = "CHECKs" if name.startswith("CHECK ") else name.split(": `")[0]
        statements.setdefault(statement, []).append(bool(failed))
    rows = [f"| {statement} | {len(caught)} | {sum(caught)} |" for statement, caught in statements.items()]
    survivors = [f"- {name}" for name, failed in judgements if not failed]
    caught = len(judgements) - len(survivors)
    head = [f"{len(judgements)} guards, {caught} caught.", "", "| statement | guards | caught |", "|---|---|---|"]
    return "\n".join([*head, *rows, *(["", "These survive:", "", *survivors] if survivors else [])])


def parsed():
    parser = argparse.ArgumentParser()
    for name in ("database", "psql", "tests"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--own", nargs="*", default=[])
    parser.add_argument("--only", default="")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--timeout", type=int, default=300)
    parser.add_argument("filter", nargs="*")
    return parser.parse_args()


def main():
    arguments = parsed()
    run = Run(arguments)
    run.look()
    every = []
    for statement, sql in product_statements(run, arguments.own).items():
        for guard, without in mutants(sql):
            name = f"{statement}: `{guard[:GUARD_CHARS_MAX]}`"
            every.append((name, lambda sql=sql, without=without: run.without_guard(sql, without)))
    template, checks = run.checks()
    for table, check, definition in checks:
        name = f"CHECK {check} of {table}"
        every.append((name, lambda c=(table, check, definition): run.without_check(template, *c)))
    judgements = []
    for name, judged in every:
        if arguments.only not in name:
            continue
        if arguments.list:
            print(name)
            continue
        failed = judged()
        print(f"{'caught  ' if failed else 'SURVIVES'}  {name}  {failed or ''}", file=sys.stderr, flush=True)
        judgements.append((name, failed))
    if not arguments.list:
        print(table(judgements))


main()
