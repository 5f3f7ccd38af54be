"""Work as steps: what is done, what is repeated, and what a step that fails costs."""

import pytest

from darc.offline.plan import (
    ALL,
    PROBLEMS_MAX,
    Account,
    Done,
    Interrupted,
    OfflineError,
    Step,
    carry_out,
    to_do,
)


class Chain:
    """Steps a, b (needs a), c (by itself) and d (after all)."""

    def __init__(self, folder):
        self.folder = folder
        self.ran = []
        self.broken = set()

    def steps(self):
        return [
            self.step("a"),
            self.step("b", needs=("a",)),
            self.step("c"),
            self.step("d", after=("a", "b", "c")),
        ]

    def step(self, name, **order):
        made = self.folder / f"{name}.made"

        def run(account):
            self.ran.append(name)
            account.check()
            if name in self.broken:
                raise OfflineError("no luck")
            made.write_text(str(len(self.ran)))
            return Done({f"n_{name}": 1}, [f"bad {name}"])

        return Step(name, run, self.folder / f"{name}.json", (made,), **order)

    def carry_out(self, again=(), **account):
        self.ran.clear()
        account = Account(**account)
        carry_out(self.steps(), account, again)
        return account


@pytest.fixture
def chain(tmp_path):
    return Chain(tmp_path)


def test_what_is_done_is_not_repeated_but_told_again(chain):
    first = chain.carry_out()
    assert chain.ran == ["a", "b", "c", "d"]
    assert first.numbers == {"n_a": 1, "n_b": 1, "n_c": 1, "n_d": 1}
    assert first.problems == ["a: bad a", "b: bad b", "c: bad c", "d: bad d"]
    second = chain.carry_out()
    assert chain.ran == [] and (second.numbers, second.problems) == (first.numbers, first.problems)


@pytest.mark.parametrize(
    ("again", "repeated"),
    [(["a"], "abd"), (["b"], "bd"), (["c"], "cd"), (["d"], "d"), (["b", "c"], "bcd"), ([ALL], "abcd")],
)
def test_what_is_asked_for_is_repeated_with_all_that_follows(chain, again, repeated):
    chain.carry_out()
    chain.carry_out(again)
    assert chain.ran == list(repeated)


def test_a_file_that_is_gone_is_made_again(chain):
    chain.carry_out()
    (chain.folder / "b.made").unlink()
    chain.carry_out()
    assert chain.ran == ["b", "d"]


def test_a_step_that_fails_costs_what_needs_it_and_is_tried_again(chain, caplog):
    chain.broken.add("a")
    account = chain.carry_out()
    assert chain.ran == ["a", "c", "d"] and account.failed == ["a", "b"]
    assert account.problems == ["a: failed: no luck", "c: bad c", "d: bad d"]
    assert "b: not done, as it needs a" in caplog.text
    chain.broken.clear()
    assert chain.carry_out().failed == []
    assert chain.ran == ["a", "b", "d"]


def test_a_disk_that_refuses_is_a_step_that_fails(chain):
    (chain.folder / "a.made").mkdir()
    assert chain.carry_out().failed == ["a", "b"]


def test_nothing_old_stands_beside_something_new(chain):
    chain.carry_out()
    left = iter([False, False, True])
    with pytest.raises(Interrupted):
        chain.carry_out([ALL], cancelled=lambda: next(left))
    assert sorted(path.name for path in chain.folder.iterdir()) == ["a.json", "a.made"]
    chain.carry_out()
    assert chain.ran == ["b", "c", "d"]


def test_what_a_step_made_before_it_was_interrupted_stays_for_it(chain):
    chain.carry_out()
    (chain.folder / "b.json").unlink()
    seen = []
    step = chain.steps()[1]
    carry_out([Step("b", lambda _: seen.append(step.makes[0].exists()) or Done(), step.mark)], Account())
    assert seen == [True]


def test_a_step_of_another_name_is_refused_with_the_names_there_are(chain):
    with pytest.raises(OfflineError, match="no step e; the steps are a, b, c, d"):
        to_do(chain.steps(), ["e"])


@pytest.mark.parametrize("mark", ["", "[]", '{"numbers": {"n": "x"}, "problems": []}', '{"numbers": {}}'])
def test_a_damaged_mark_is_an_error_that_says_what_to_do(chain, mark):
    chain.carry_out()
    (chain.folder / "a.json").write_text(mark)
    with pytest.raises(OfflineError, match=r"a\.json: damaged.*remove it"):
        chain.carry_out()


# a summary that told of each damaged candidate was larger than what the master node reads
def test_of_many_problems_the_first_are_told_and_all_are_in_the_log(tmp_path, caplog):
    many = Done(problems=[f"file {number} is damaged" for number in range(3000)])
    steps = [Step("a", lambda account: many, tmp_path / "a.json")]
    first, second = Account(), Account()
    carry_out(steps, first)
    carry_out(steps, second)
    assert len(first.problems) == PROBLEMS_MAX + 1 and first.problems == second.problems
    assert first.problems[0] == "a: file 0 is damaged"
    assert first.problems[-1] == f"a: and {3000 - PROBLEMS_MAX} more, see the log"
    assert "a: file 2999 is damaged" in caplog.text
