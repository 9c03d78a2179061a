"""What fedmed never does with bytes that it was given: objects, code, shells, unpacking; and it opens no line."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import fedmed

MODULES = {
    *("pickle", "dill", "joblib", "cloudpickle", "marshal", "shelve", "importlib.util", "runpy", "tenseal"),
    *("socket", "urllib.request", "http.client", "ftplib", "smtplib", "requests", "httpx", "aiohttp", "paramiko"),
    "monai.bundle",
}
CALLS = {
    *("eval", "exec", "compile", "__import__", "extractall", "system", "popen"),
    *("torch.load", "yaml.load", "yaml.unsafe_load", "yaml.full_load", "np.load", "numpy.load", "torch.hub.load"),
}
KEYWORDS = {("shell", True), ("allow_pickle", True), ("weights_only", False)}
FILES = sorted(Path(fedmed.__file__).parent.rglob("*.py"))


def forbidden(source: str) -> list[str]:
    """Imports, calls and keywords of the lists above, where they stand in the code itself."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names if _is_module(alias.name)]
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
            found += [name for name in names if _is_module(name)]
        if isinstance(node, ast.Call):
            found += _called(node)
    return found


def _is_module(name: str) -> bool:
    return any(name == module or name.startswith(f"{module}.") for module in MODULES)


def _called(node: ast.Call) -> list[str]:
    name = ast.unparse(node.func)
    last = name.rpartition(".")[2]
    is_plain = isinstance(node.func, ast.Name) or last in ("extractall", "system", "popen")
    found = [name] if name in CALLS or (is_plain and last in CALLS) else []
    given = {(word.arg, word.value.value) for word in node.keywords if isinstance(word.value, ast.Constant)}
    return found + [f"{word}={value}" for word, value in given if (word, value) in KEYWORDS]


def test_no_file_does_any_of_it() -> None:
    assert len(FILES) > 200
    assert {path.name: found for path in FILES if (found := forbidden(path.read_text("utf-8")))} == {}


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "from pickle import loads",
        "from urllib import request",
        "import socket as s",
        "from monai.bundle import ConfigParser",
        "import tenseal",
        "torch.load(path, weights_only=True)",
        "yaml.load(text, Loader=yaml.SafeLoader)",
        "np.load(path)",
        "x.extractall()",
        "os.system('ls')",
        "subprocess.run('ls', shell=True)",
        "eval(text)",
        "f(allow_pickle=True)",
    ],
)
def test_each_of_them_would_be_found(source: str) -> None:
    assert len(forbidden(source)) >= 1


@pytest.mark.parametrize("source", ["re.compile('x')", "yaml.safe_load(text)", "model.eval()", "'import pickle'"])
def test_what_looks_like_one_is_none(source: str) -> None:
    assert forbidden(source) == []
