"""What SECURITY.md promises and a test can read off the source."""

import ast
from pathlib import Path

import pytest

SOURCE = sorted((Path(__file__).parents[1] / "xal").rglob("*.py"))
UNPICKLE = {"pickle", "cPickle", "cloudpickle", "dill", "joblib", "shelve", "marshal"}
SHELLS = {"os.system", "os.popen", "subprocess.getoutput", "subprocess.getstatusoutput"}


def trouble(source: str) -> list[str]:
    """Whatever unpickles, reads YAML unsafely, or starts a shell."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names if alias.name.split(".")[0] in UNPICKLE]
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in UNPICKLE:
            found.append(str(node.module))
        if isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            options = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
            if name in SHELLS or options.get("shell") == "True" or name in ("eval", "exec", "yaml.load"):
                found.append(name)
            if name == "np.load" and options.get("allow_pickle") != "False":
                found.append(name)
            if name == "torch.load" and options.get("weights_only") != "True":
                found.append(name)
    return found


@pytest.mark.parametrize("path", SOURCE, ids=lambda path: path.stem)
def test_nothing_unpickles_or_starts_a_shell(path: Path) -> None:
    assert trouble(path.read_text()) == []


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "from cloudpickle import loads",
        "np.load(path)",
        "torch.load(path)",
        "subprocess.run(command, shell=True)",
        "os.system(command)",
        "yaml.load(text)",
        "eval(text)",
    ],
)
def test_the_look_finds_them(source: str) -> None:
    assert trouble(source)
