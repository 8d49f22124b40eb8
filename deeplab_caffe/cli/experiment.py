"""``deeplab-caffe experiment``: what run_pascal.sh, run_densecrf.sh and EvalSegResults.m do, in the same folders."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import click

from deeplab_caffe.cli.options import path_option, split_list, variables_option, word_option
from deeplab_caffe.experiment.runner import Runner
from deeplab_caffe.experiment.settings import STEPS, ExperimentSettings


def _names(_: click.Context, __: click.Parameter, text: str) -> tuple[str, ...]:
    return split_list(text)


@click.command()
@click.argument("exp")
@path_option("--data-root", required=True, help="DATA_ROOT, the prefix of the lists' paths.")
@click.option("--model", required=True, help="A network of prototxt/, or a folder with train, test, solver.prototxt.")
@click.option(
    "--steps",
    default="train,test,crf,eval",
    show_default=True,
    callback=_names,
    help=f"Which of {','.join(STEPS)}.",
)
@path_option("--exper-root", "root", default=Path("exper"), show_default=True, help="Folder of all experiments.")
@word_option("--net-id", help="NET_ID, the name of the network's folders; by default the model's.")
@click.option("--dry-run", is_flag=True, help="Only print what would be done.")
@click.option("--train-set", default="train_aug", show_default=True, help="TRAIN_SET of step train.")
@click.option(
    "--test-set", "test_sets", default="val", show_default=True, callback=_names, help="Sets, separated by commas."
)
@click.option("--train-set2", default="trainval_aug", show_default=True, help="TRAIN_SET of step train2.")
@click.option("--test-set2", "test_sets2", default="val,test", show_default=True, callback=_names)
@word_option("--train-set-strong", "strong_set", help="TRAIN_SET_STRONG: all other images are weakly labelled.")
@click.option("--train-set-weak-len", "weak_length", type=click.IntRange(min=1), help="TRAIN_SET_WEAK_LEN.")
@path_option("--init", help="Initial weights, instead of model/<NET_ID>/init.caffemodel.")
@path_option("--weights", help="Weights to test, instead of test.caffemodel or the newest snapshot.")
@path_option("--lists", help="Folder to copy list files from. By default DATA_ROOT/list.")
@click.option("--strict-lists", is_flag=True, help="Fail if a list of voc12 differs from the released one.")
@path_option("--labels", help="Folder of true labels. By default DATA_ROOT/SegmentationClass, or that of the list.")
@word_option("--classes", help="As for eval; by default those of EXP.")
@click.option("--trimap", default="1:40", show_default=True, help="As for eval; empty for none.")
@word_option("--crf", help="CRF preset or .json file. By default the result of crf-search, or the model's preset.")
@word_option("--search-set", help="Set of step crf-search; by default val.")
@click.option("--search-options", default="", help="More options of crf-search: '--samples 50 --rounds 1'.")
@click.option("--device", help="As for train and test.")
@variables_option
def experiment(
    steps: tuple[str, ...], dry_run: bool, search_options: str, trimap: str, test_sets: tuple[str, ...], **given: Any
) -> None:
    """Run the experiment EXP (voc12, camvid, or any data set with lists like theirs), step by step.

    The folders config, features, features2, list, log, model and res are those of the release, under exper/EXP. A step
    that is finished for the same inputs is skipped; an interrupted step continues.
    """
    if not test_sets:
        raise click.UsageError("--test-set: name a set")
    settings = ExperimentSettings(
        search_options=tuple(shlex.split(search_options)), trimap=trimap or None, test_sets=test_sets, **given
    )
    runner = Runner(settings, echo=click.echo, warn=lambda line: click.echo(f"warning: {line}", err=True))
    runner.run(steps, dry=dry_run)
