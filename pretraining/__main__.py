"""``python -m pretraining``: corpus, teacher, student, export; each goes on where it was stopped."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import torch
import typer

from astune.console import notify
from astune.errors import AstuneError
from pretraining.corpus import CorpusConfig, build
from pretraining.export import export
from pretraining.mixing import MixConfig, Mixer
from pretraining.stage import optimizer_for, run_stage, trained_weights
from pretraining.student import Student, StudentConfig, StudentLearner
from pretraining.teacher import Teacher, TeacherConfig, TeacherLearner

_TEACHER_MIX = MixConfig((98, 198), (0.85, 0.15), (48, 24))


def pretrain(
    data_root: Annotated[Path, typer.Option(help="Folder that holds arabic_speech_commands/.")],
    work_dir: Annotated[Path, typer.Option(help="Corpus, checkpoints and logs.")] = Path("pretraining-output"),
    output_dir: Annotated[
        Path | None, typer.Option(help="Where the backbone goes; WORK_DIR/backbone if not given.")
    ] = None,
    teacher_steps: Annotated[int, typer.Option(min=1)] = TeacherConfig.steps,
    student_steps: Annotated[int, typer.Option(min=1)] = StudentConfig.steps,
    takes_per_word: Annotated[int, typer.Option(min=1)] = CorpusConfig.takes_per_word,
    takes_per_sound: Annotated[int, typer.Option(min=1)] = CorpusConfig.takes_per_sound,
    words: Annotated[int | None, typer.Option(min=1, help="Only so many synthesised words.")] = None,
    sound_kinds: Annotated[int | None, typer.Option(min=1, help="Only so many kinds of sound.")] = None,
    save_every: Annotated[int, typer.Option(min=1, help="Steps between checkpoints.")] = 500,
    seed: Annotated[int, typer.Option(help="Of data, weights and masks.")] = 0,
) -> None:
    """Pretrain a small AST. Run again to go on; the same settings and seed end with the same weights on one machine.

    Run again with more steps, what is finished trains on, at the rate the longer schedule has there.
    """
    corpus_config = CorpusConfig(
        str(data_root / "arabic_speech_commands"), takes_per_word, takes_per_sound, words, sound_kinds, seed
    )
    corpus = build(work_dir / "corpus", corpus_config)
    settings: dict[str, object] = {"seed": seed, "corpus": asdict(corpus_config)}

    teacher_config = TeacherConfig(steps=teacher_steps)
    torch.manual_seed(seed)
    teacher = Teacher(corpus.classes, teacher_config.channels)
    run_stage(
        "teacher",
        work_dir / "teacher",
        TeacherLearner(teacher, corpus.monitor),
        optimizer_for(teacher, teacher_config.learning_rate, teacher_config.weight_decay),
        Mixer(corpus, _TEACHER_MIX, seed),
        teacher_steps,
        settings | {"teacher": _apart_from_steps(teacher_config)},
        save_every,
    )

    student_config = StudentConfig(steps=student_steps)
    torch.manual_seed(seed + 1)
    student = Student(student_config, corpus.classes, teacher_config.channels)
    run_stage(
        "student",
        work_dir / "student",
        StudentLearner(student, teacher, student_config, corpus.monitor, seed),
        optimizer_for(student, student_config.learning_rate, student_config.weight_decay),
        Mixer(corpus, MixConfig(), seed + 1),
        student_steps,
        settings | {"teacher": _apart_from_steps(teacher_config), "student": _apart_from_steps(student_config)},
        save_every,
    )
    student.load_state_dict(trained_weights(work_dir / "student"))
    folder = export(student.exported(), output_dir or work_dir / "backbone")
    notify(
        f"Wrote the backbone to {folder}; measure it with: python -m pretraining.measure {folder} --data-root {data_root}"
    )


def _apart_from_steps(config: TeacherConfig | StudentConfig) -> dict[str, object]:
    return {key: value for key, value in asdict(config).items() if key != "steps"}


if __name__ == "__main__":
    try:
        typer.run(pretrain)
    except AstuneError as fault:
        notify(f"error: {fault}")
        raise SystemExit(1) from fault
