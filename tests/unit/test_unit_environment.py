"""Variables as systemd reads them from a file, and as `systemctl show` writes them."""

import pytest

from flowd.service import environment
from flowd.service.systemctl import listens_at


@pytest.mark.parametrize(
    ("text", "variables"),
    [
        ("FLOWD_MAX_PARALLEL=2\n", {"FLOWD_MAX_PARALLEL": "2"}),
        ("# FLOWD_A=1\n; FLOWD_B=2\n\n  FLOWD_C = 3  \n", {"FLOWD_C": "3"}),
        ('A="two words"\nB=\'as $it is\'\nC=two words\nD=it\'s\n', {"A": "two words", "B": "as $it is",
                                                                   "C": "two words", "D": "it's"}),
        ('A="say \\"so\\""\n', {"A": 'say "so"'}),
        ('A="\\$b \\`c\\` \\d"\nB=\'\\$b\'\n', {"A": "$b `c` \\d", "B": "\\$b"}),
        ("A=one \\\ntwo\n", {"A": "one two"}),
        ("A=1\nA=2\n", {"A": "2"}),
        ("no variable\n", {}),
        ("A=b=c\nE=\n", {"A": "b=c", "E": ""}),
    ],
)  # fmt: skip
def test_a_file_of_variables_is_read_as_systemd_reads_it(text: str, variables: dict[str, str]) -> None:
    assert environment.parse(text)[0] == variables


@pytest.mark.parametrize(
    "line",
    ["export FLOWD_A=7", "FLOWD_A: 7", '"FLOWD_A=7"', "FLOWD-A=7", "7FLOWD_A=1", "=7", "FLOWD_A"],
)
def test_lines_that_systemd_leaves_out_are_counted(line: str) -> None:
    text = f"# FLOWD_B\\\n more\nFLOWD_C='one\ntwo' \"three\"\n{line}\n\nflowd_d=\\\\4\n  {line}"
    assert environment.parse(text) == ({"FLOWD_C": "one\ntwothree", "flowd_d": "\\4"}, [5, 8])


def test_only_unix_sockets_of_a_socket_unit_count() -> None:
    about = {"Listen": "/run/my flowd.sock (Stream)\n127.0.0.1:7345 (Stream)\n/run/b (1).sock (Stream)"}
    assert [str(path) for path in listens_at(about)] == ["/run/my flowd.sock", "/run/b (1).sock"]
    assert listens_at({}) == []


def test_paths_are_read_as_systemd_escapes_them() -> None:
    about = {"Listen": r"/srv/\303\234ber \"x\"\t\377/a\\x2db.sock (Stream)"}
    assert [str(path) for path in listens_at(about)] == ['/srv/Über "x"\t\udcff/a\\x2db.sock']


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("LoadCredential=flowd-http-secret:/etc/s\nLoadCredentialEncrypted=b", {"flowd-http-secret", "b"}),
        ("SetCredential=a: some: text\nLoadCredential=\nLoadCredential = \\\n c:/x", {"a", "c"}),
        ("LoadCredential=a:/x\nLoadCredential=\n# LoadCredential=b:/x\nEnvironment=LoadCredential=c:/x", set()),
        ("LoadCredentialEncrypted=a:/x\nSetCredential=b:x\nLoadCredential=", {"b"}),
    ],
)
def test_the_names_of_credentials_are_read_from_the_units_text(text: str, names: set[str]) -> None:
    assert environment.credentials(text) == names
