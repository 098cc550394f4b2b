#!/usr/bin/env python3
"""Runs the steps of deploy/Dockerfile where there is no Docker: dockerfile.py DIRECTORY REVISION

For `image-steps`, as root on Debian. Each stage is a directory of its own, begun with a Debian that is bootstrapped once;
the stage with Rust gets this machine's toolchain. It knows the instructions that the Dockerfile has, and no others. The
last stage is left in DIRECTORY/image, and what a container of it would be started with in DIRECTORY/image.env.
"""

import json
import re
import shlex
import shutil
import string
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
# What the base images of Docker's library have, as packages and as a search path.
PACKAGES = {"debian": "", "rust": "ca-certificates,gcc,libc6-dev"}
ENVIRONMENT = {"PATH": "/usr/local/rust/bin:/usr/sbin:/usr/bin:/sbin:/bin", "CARGO_HOME": "/usr/local/cargo"}
IN_ROOT = 'mount --bind /dev "$0/dev" && mount -t proc proc "$0/proc" && cd / && exec chroot "$0" "$@"'


def instructions(text):
    """Each instruction with its arguments, continued lines joined."""
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    for line in "\n".join(lines).replace("\\\n", " ").splitlines():
        name, rest = line.split(maxsplit=1)
        yield name, rest


def out(command):
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()


def mirror():
    """Where this machine's apt gets Debian from."""
    index = out(["apt-get", "indextargets", "--format", "$(LABEL) $(REPO_URI)", "Created-By: Packages"])
    return next(line.split()[1] for line in index.splitlines() if line.startswith("Debian "))


def bootstrap(folder, release, packages):
    if folder.exists():
        return
    part = folder.with_suffix(".part")
    shutil.rmtree(part, ignore_errors=True)
    options = ["--variant=minbase"] + ([f"--include={packages}"] if packages else [])
    unshared = ["unshare", "--mount", "--propagation", "private"]
    subprocess.run([*unshared, "debootstrap", *options, release, str(part), mirror()], check=True)
    part.rename(folder)


def add_rust(root, wanted):
    version = out(["rustc", "--version"]).split()[1]
    if not version.startswith(f"{wanted}."):
        sys.exit(f"error: the image wants Rust {wanted}, and this machine has {version}")
    shutil.copytree(out(["rustc", "--print", "sysroot"]), root / "usr/local/rust", symlinks=True)
    (root / "usr/local/cargo").mkdir(parents=True)
    # A machine behind a proxy of its own knows more certificates than Debian does.
    shutil.copy("/etc/ssl/certs/ca-certificates.crt", root / "etc/ssl/certs/ca-certificates.crt")


class Build:
    def __init__(self, folder, arguments):
        self.folder, self.given = folder, arguments
        self.arguments, self.stages, self.root = {}, {}, None
        self.set_stage(None)

    def set_stage(self, root):
        self.root, self.shell, self.workdir = root, ["/bin/sh", "-c"], "/"
        # Arguments are seen while the stage is built, the environment by what runs of it too.
        self.in_build, self.environment = {}, {}
        self.started = {"USER": "0:0", "ENTRYPOINT": [], "CMD": [], "HEALTHCHECK": []}

    def expand(self, text):
        return string.Template(text).substitute(self.arguments)

    def do(self, name, rest):
        print(f"{name} {rest}"[:120], flush=True)
        self.HOW[name](self, rest)

    def arg(self, rest):
        key, _, default = rest.partition("=")
        self.arguments[key] = self.given.get(key, default)
        self.in_build[key] = self.arguments[key]

    def begin(self, rest):
        base, _, stage = self.expand(rest).partition(" AS ")
        root = self.folder / (stage or "image")
        shutil.rmtree(root, ignore_errors=True)
        self.set_stage(root)
        self.stages[stage] = root
        if base == "scratch":
            return root.mkdir()
        image, rust, release = re.fullmatch(r"(rust|debian):(?:([0-9.]+)-slim-)?([a-z]+)(?:-slim)?", base).groups()
        debian = self.folder / f"{image}-{release}"
        bootstrap(debian, release, PACKAGES[image])
        subprocess.run(["cp", "-a", str(debian), str(root)], check=True)
        shutil.copy("/etc/resolv.conf", root / "etc/resolv.conf")
        if image == "rust":
            add_rust(root, rust)
        return None

    def use_workdir(self, rest):
        self.workdir = rest
        self.inside(rest).mkdir(parents=True, exist_ok=True)

    def inside(self, path):
        return self.root / path.lstrip("/")

    def env(self, rest):
        self.environment.update(pair.split("=", 1) for pair in shlex.split(rest))

    def use_shell(self, rest):
        self.shell = json.loads(rest)

    def copy(self, rest):
        words = rest.split()
        if not words[0].startswith("--from="):
            assert words == [".", "."], rest
            let_through = [l[1:] for l in (ROOT / ".dockerignore").read_text().splitlines() if l.startswith("!")]
            sources, target = [ROOT / name for name in let_through], self.inside(self.workdir)
        else:
            source, target = self.stages[words[0].removeprefix("--from=")] / words[1].lstrip("/"), self.inside(words[2])
            sources = list(source.iterdir()) if source.is_dir() else [source]
        subprocess.run(["cp", "-a", *map(str, sources), str(target)], check=True)

    def run(self, rest):
        environment = [f"{key}={value}" for key, value in {**ENVIRONMENT, **self.in_build, **self.environment}.items()]
        inner = ["/usr/bin/env", "-i", f"--chdir={self.workdir}", *environment, *self.shell, rest]
        unshared = ["unshare", "--mount", "--propagation", "private", "bash", "-c", IN_ROOT, str(self.root)]
        subprocess.run([*unshared, *inner], check=True)

    def user(self, rest):
        self.started["USER"] = rest

    def entrypoint(self, rest):
        self.started["ENTRYPOINT"] = json.loads(rest)

    def cmd(self, rest):
        self.started["CMD"] = json.loads(rest)

    def healthcheck(self, rest):
        self.started["HEALTHCHECK"] = json.loads(rest[rest.index("["):])

    def nothing(self, rest):
        """Says something to Docker that has no meaning here."""

    HOW = {
        "ARG": arg, "CMD": cmd, "COPY": copy, "ENTRYPOINT": entrypoint, "ENV": env, "EXPOSE": nothing, "FROM": begin,
        "HEALTHCHECK": healthcheck, "LABEL": nothing, "RUN": run, "SHELL": use_shell, "STOPSIGNAL": nothing, "USER": user,
        "WORKDIR": use_workdir,
    }


def main():
    folder = Path(sys.argv[1]).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    build = Build(folder, {"REVISION": sys.argv[2]})
    for name, rest in instructions((ROOT / "deploy/Dockerfile").read_text()):
        build.do(name, rest)
    started = {**build.started, "ENV": [f"{k}={v}" for k, v in build.environment.items()]}
    lines = [f"IMAGE_{k}=({shlex.join([v] if isinstance(v, str) else v)})" for k, v in started.items()]
    (folder / "image.env").write_text("\n".join(lines) + "\n")


main()
