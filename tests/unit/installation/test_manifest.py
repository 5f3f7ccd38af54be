"""What is installed is recorded, and what is removed was made by us and changed by nobody."""

import pytest

from darc.installation.manifest import Installation, InstallationError, Item


@pytest.fixture
def root(tmp_path):
    folder = tmp_path / "root"
    folder.mkdir()
    (folder / "here").mkdir()
    return folder


def items(root, content="one"):
    return [
        Item(root / "record"),
        Item(root / "new" / "results"),
        Item(root / "keys", mode=0o700),
        Item(root / "keys" / "a.key", content + " secret", 0o600, kept=True),
        Item(root / "here" / "unit", content, 0o644),
    ]


def installation(root, **more):
    told = []
    made = Installation(root / "record" / "made.json", tell=told.append, **more)
    made.told = told
    return made


def tree(root):
    return {
        str(path.relative_to(root)): (
            path.stat().st_mode & 0o777,
            path.read_text() if path.is_file() else None,
        )
        for path in root.rglob("*")
    }


def test_everything_is_made_and_everything_of_it_is_removed(root):
    before = tree(root)
    installation(root).install(items(root))
    made = tree(root)
    assert made["keys"] == (0o700, None) and made["keys/a.key"] == (0o600, "one secret")
    assert made["new/results"] == (0o755, None) and made["here/unit"] == (0o644, "one")
    assert installation(root).undo() == []
    assert tree(root) == before


def test_a_dry_run_says_each_thing_once_and_does_none(root):
    before = tree(root)
    wanted = installation(root, dry_run=True)
    wanted.install(items(root))
    done = installation(root)
    assert tree(root) == before
    done.install(items(root))
    assert wanted.told == done.told and len(set(done.told)) == len(done.told)
    after = tree(root)
    installation(root, dry_run=True).undo()
    assert tree(root) == after


def test_a_file_of_others_is_not_replaced_and_nothing_else_is_done(root):
    (root / "here" / "unit").write_text("of others")
    before = tree(root)
    with pytest.raises(InstallationError, match=r"here/unit is there and is not of DARC.*nothing was done"):
        installation(root).install(items(root))
    assert tree(root) == before


def test_a_file_that_is_there_as_it_should_be_is_not_ours_to_remove(root):
    (root / "here" / "unit").write_text("one")
    installation(root).install(items(root))
    installation(root).undo()
    assert (root / "here" / "unit").read_text() == "one"


def test_a_later_version_replaces_its_files_but_not_keys(root):
    installation(root).install(items(root))
    installation(root).install(items(root, "two"))
    made = tree(root)
    assert made["here/unit"][1] == "two" and made["keys/a.key"][1] == "one secret"
    assert installation(root).undo() == [] and set(tree(root)) == {"here"}


def test_what_was_changed_or_filled_since_is_left_and_told(root):
    installation(root).install(items(root))
    (root / "here" / "unit").write_text("mine now")
    (root / "new" / "results" / "burst").touch()
    with pytest.raises(InstallationError, match="was changed since"):
        installation(root).install(items(root, "two"))
    left = installation(root).undo()
    assert [reason.removeprefix(f"{root}/") for reason in left] == [
        "here/unit was changed since",
        "new/results is not empty",
        "new is not empty",
    ]
    assert set(tree(root)) == {"here", "here/unit", "new", "new/results", "new/results/burst"}


def test_an_installation_that_was_interrupted_can_be_undone(root):
    before = tree(root)
    (root / "keys").touch()  # in the way of a folder
    with pytest.raises(InstallationError):
        installation(root).install(items(root))
    (root / "keys").unlink()
    assert installation(root).undo() == [] and tree(root) == before


@pytest.mark.parametrize("content", ["", "[]", '{"made": 3}'])
def test_a_record_that_is_none_is_refused(root, content):
    (root / "record").mkdir()
    (root / "record" / "made.json").write_text(content)
    with pytest.raises(InstallationError, match="no record of an installation"):
        installation(root)


def test_without_a_record_there_is_nothing_to_undo(root):
    with pytest.raises(InstallationError, match="nothing to undo"):
        installation(root).undo()
