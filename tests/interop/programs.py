"""The programs that people read files with, each a different way through the kernel.

READERS: a name, and the command by which the program puts the file {file} on its stdout or into
{copy}. LOOKERS: commands that look at a folder {folder} without wanting any file's content.
"""

import shutil
import subprocess

TIMEOUT_SECONDS = 60

JAVA = """
import java.nio.file.*;
class Copy {
    public static void main(String[] paths) throws Exception {
        Files.copy(Path.of(paths[0]), Path.of(paths[1]));
    }
}
"""

READERS = {
    "cat": ["cat", "{file}"],
    "busybox cat": ["busybox", "cat", "{file}"],
    "uutils cat": ["coreutils", "cat", "{file}"],
    "uutils cp": ["coreutils", "cp", "{file}", "{copy}"],
    "uutils dd": ["coreutils", "dd", "if={file}", "status=none"],
    "uutils head": ["coreutils", "head", "-c", "100000", "{file}"],
    "uutils install": ["coreutils", "install", "-m", "600", "{file}", "{copy}"],
    "cp": ["cp", "{file}", "{copy}"],
    "cp --reflink=never": ["cp", "--reflink=never", "{file}", "{copy}"],
    "busybox cp": ["busybox", "cp", "{file}", "{copy}"],
    "install": ["install", "-m", "600", "{file}", "{copy}"],
    "dd": ["dd", "if={file}", "status=none"],
    "dd bs=1": ["dd", "if={file}", "bs=1", "status=none"],
    "busybox dd": ["busybox", "dd", "if={file}"],
    "head": ["head", "-c", "100000", "{file}"],
    "tail": ["tail", "-c", "+1", "{file}"],
    "base64": ["sh", "-c", "base64 <'{file}' | base64 -d"],
    "sed": ["sed", "-n", "p", "{file}"],
    "awk": ["awk", "-v", "ORS=", "{{ print }}", "{file}"],
    "grep": ["sh", "-c", "printf %s \"$(grep '' '{file}')\""],
    "openssl": ["sh", "-c", "openssl base64 -in '{file}' | openssl base64 -d"],
    "curl": ["curl", "-sS", "file://{file}"],
    "rsync": ["rsync", "{file}", "{copy}"],
    "perl": ["perl", "-pe", "", "{file}"],
    "perl File::Copy": ["perl", "-MFile::Copy", "-e", "copy(@ARGV) or die $!", "{file}", "{copy}"],
    "bash $(<file)": ["bash", "-c", "printf %s \"$(<'{file}')\""],
    "bash read": ["bash", "-c", "read -r line <'{file}'; printf %s \"$line\""],
    "bash mapfile": ["bash", "-c", "mapfile -t lines <'{file}'; printf %s \"${{lines[0]}}\""],
    "an inherited descriptor": ["bash", "-c", "exec 3<'{file}'; cat <&3"],
    "a descriptor's name": ["bash", "-c", "exec 3<'{file}'; cat /proc/self/fd/3"],
    "python read": ["/usr/bin/python3", "-c",
                    "import sys; sys.stdout.write(open('{file}').read())"],
    "python shutil.copyfile": ["/usr/bin/python3", "-c",
                               "import shutil; shutil.copyfile('{file}', '{copy}')"],
    "python mmap": ["/usr/bin/python3", "-c",
                    "import mmap, sys; f = open('{file}', 'rb');"
                    "sys.stdout.buffer.write(mmap.mmap(f.fileno(), 0, prot=mmap.PROT_READ)[:])"],
    "python sendfile": ["/usr/bin/python3", "-c",
                        "import os; f = open('{file}', 'rb'); c = open('{copy}', 'wb');"
                        "os.sendfile(c.fileno(), f.fileno(), 0, 100000)"],
    "python splice": ["/usr/bin/python3", "-c",
                      "import os; f = open('{file}', 'rb'); r, w = os.pipe();"
                      "n = os.splice(f.fileno(), w, 65536); os.write(1, os.read(r, n))"],
    "python pread": ["/usr/bin/python3", "-c",
                     "import os; os.write(1, os.pread(os.open('{file}', os.O_RDONLY), 65536, 0))"],
    "node readFileSync": ["node", "-e",
                          "process.stdout.write(require('fs').readFileSync('{file}'))"],
    "node copyFileSync": ["node", "-e", "require('fs').copyFileSync('{file}', '{copy}')"],
    "java Files.copy": ["java", "{java}", "{file}", "{copy}"],
}

# One that sources the whole config as shell variables, and prints the one it wants.
SOURCE = ["bash", "-c", "source '{file}'; printf %s \"$AWS_USER_SECRET_ACCESS_KEY\""]

LOOKERS = {
    "ls -lR": ["ls", "-laR", "{folder}"],
    "busybox ls -lR": ["busybox", "ls", "-laR", "{folder}"],
    "find": ["find", "{folder}", "-ls"],
    "find by size and time": ["find", "{folder}", "-type", "f", "-size", "+0", "-newer", "/proc"],
    "stat": ["bash", "-c", "stat '{folder}'/*"],
    "du": ["du", "-a", "{folder}"],
    "test": ["bash", "-c", "for f in '{folder}'/*; do test -r \"$f\" -a ! -s \"$f\"; done"],
    "compgen": ["bash", "-c", "compgen -f '{folder}/'; compgen -G '{folder}/*'"],
    "completion": ["bash", "-c", "test ! -r /usr/share/bash-completion/bash_completion ||"
                   "{{ . /usr/share/bash-completion/bash_completion; COMP_WORDS=(cat '{folder}/A');"
                   "COMP_CWORD=1; COMP_LINE='cat {folder}/A'; COMP_POINT=${{#COMP_LINE}};"
                   "_longopt cat; printf '%s\\n' \"${{COMPREPLY[@]}}\"; }}"],
    "python scandir": ["/usr/bin/python3", "-c",
                       "import os; print([entry.stat() for entry in os.scandir('{folder}')])"],
    "python O_PATH": ["/usr/bin/python3", "-c",
                      "import os; print([os.fstat(os.open(e.path, os.O_PATH))"
                      " for e in os.scandir('{folder}') if e.is_file()])"],
    "getfattr": ["getfattr", "-d", "-R", "-P", "{folder}"],
    "tar": ["tar", "-cf", "/dev/null", "{folder}"],
    "tar into a file": ["sh", "-c", "tar -C '{folder}' -cf - . | cat >/dev/null"],
    "rsync --dry-run": ["rsync", "-a", "--dry-run", "{folder}/", "{copy}.d/"],
}


def available(command):
    return shutil.which(command[0]) is not None


def run(command, **names):
    """Runs a command of the above with its {names} filled in."""
    return subprocess.run([word.format(**names) for word in command], stdin=subprocess.DEVNULL,
                          capture_output=True, timeout=TIMEOUT_SECONDS)
