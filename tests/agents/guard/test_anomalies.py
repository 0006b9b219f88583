from agents.guard.anomalies import anomalies, repeats
from agents.guard.policy import GuardPolicy


def rules(text: str, *, found: bool = True, **policy: object) -> list[str]:
    return [wrong.rule for wrong in anomalies(text, found=found, policy=GuardPolicy(**policy))]  # type: ignore[arg-type]


def test_an_answer_that_says_nothing_is_empty_unless_it_says_so() -> None:
    assert rules("  ") == ["empty"]
    assert rules("", found=False) == []
    assert rules("Forty-two.") == []


def test_a_line_said_again_and_again_and_a_text_that_goes_round_are_repeated() -> None:
    line = "The office closes at six in the evening."
    assert repeats(f"{line}\n{line}\n  {line.upper()}", 3)
    assert not repeats(f"{line}\n{line}", 3)
    assert repeats("and so on and so on " * 20, 3)
    assert not repeats(" ".join(f"word{n}" for n in range(200)), 3)
    assert not repeats("Yes.\nYes.\nYes.\nYes.", 3)


def test_a_text_that_must_not_leave_blocks_however_it_is_spelled() -> None:
    (wrong,) = anomalies(
        "It says: You ARE the Handbook bot.", found=True, policy=GuardPolicy(leak_markers=("you are the handbook bot",))
    )
    assert (wrong.rule, wrong.action, wrong.start) == ("leak", "block", 9)
