"""Images looked at several times (PLS): classes from the aggregate of a scanpath."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from eval.evaluators.sequence import PART
from eval.features import extract
from eval.probes import LinearProbe
from eval.protocol import Evaluator, Measurement, NotApplicable, Task
from eval.recipes import Recipe, probe_recipe
from ssl_equiv.errors import UserError
from ssl_equiv.methods import PLS
from ssl_equiv.representation import Representation
from ssl_equiv.transforms.saccades import keyed_uniform


class Scanpath(nn.Module):
    """PLS at test time: an image is looked at a number of times, its aggregate is its feature.

    Every image takes the same random numbers, so its fixations depend on nothing but itself and,
    for a method that was trained on a file of saliency maps, on its map.

    Args:
        method: The trained method.
        length: Fixations, any number; None for as many as in training.
    """

    def __init__(self, method: PLS, length: int | None = None) -> None:
        super().__init__()
        self.method, self.length = method, length or method.observations

    def encode(self, images: Tensor, saliency: Tensor | None = None) -> Representation:
        """The aggregate ``(B, T)`` of normalised images ``(B, C, H, W)``.

        Args:
            images: The images.
            saliency: Their maps ``(B, h, w)``, rows of the file for these very images; only for a
                method that was trained on such a file.

        Raises:
            UserError: maps are missing, or the method was trained without.
        """
        if (saliency is None) != (self.method.saliency is None):
            raise UserError(
                "the method was trained on the spectral residual: give it no saliency maps"
                if self.method.saliency is None
                else f"the method was trained on the saliency maps in {self.method.saliency}: give "
                "those of these images"
            )
        index = torch.zeros(len(images), dtype=torch.int64, device=images.device)
        uniform = keyed_uniform(index, self.length, seed=0)
        patches, centres = self.method.fixate(images, uniform, saliency)
        actions = centres[:, 1:] - centres[:, :-1]
        return Representation(self.method.aggregate(patches, actions), {})


@dataclass(frozen=True)
class ScanpathClassification(Evaluator):
    """Classes from one look at each image and from as many as in training: ``top1_length4``, ...

    Each length is a feature pass of its own, cached beside the others.

    Args:
        lengths: Fixations; None for 1 and as many as in training.
        recipe: How the linear probe is trained.
    """

    lengths: tuple[int, ...] | None = None
    recipe: Recipe = "published"

    def __call__(self, task: Task) -> list[Measurement]:
        """Judge the aggregates; parts of single views are not looked at."""
        method = task.method
        if not isinstance(method, PLS):
            raise NotApplicable("only PLS looks at images along scanpaths: judge a run of it")
        if method.saliency is not None:
            raise NotApplicable(
                f"the method looks where the saliency maps in {method.saliency} tell, which these "
                "images may not have: eval.evaluators.scanpath.Scanpath takes maps of them"
            )
        if task.data is None or task.folder is None:
            raise NotApplicable("scanpaths need images: give data and a folder for features")
        found = []
        for length in self.lengths or sorted({1, method.observations}):
            sets = []
            for views in (task.train, task.val):
                made = extract(
                    Scanpath(method, length),
                    task.data,
                    task.folder,
                    split=views.split,
                    name=f"scanpath{length}",
                    trainer_options=task.pass_options,
                    progress=task.progress,
                )
                sets.append(replace(made, parts={PART: (0, made.features.shape[-1])}))
            some = replace(task, train=sets[0], val=sets[1], others={}, parts=(PART,))
            recipe = probe_recipe(self.recipe, linear=True)
            probe = LinearProbe(some.train, some.val, some.parts, some.seeds, recipe)
            found += [
                replace(measured, metric=f"{measured.metric}_length{length}")
                for measured in some.run(probe)
            ]
        return found
