"""What the app shows of one modality: a tab for sampling, a part of the Score tab, and endpoints for programs."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

from seqgen.config import SeqgenError
from seqgen.modality import Modality
from seqgen_app.catalog import Catalog
from seqgen_app.limits import Limits

TABS: dict[str, type["Tab"]] = {}
"""The classes of tabs by the names of their modalities. A modality without one gets `tabs.generic.GenericTab`."""


class Tab(ABC):
    """The tab of one modality.

    Args:
        modality: The kind of data.
        models: Those of this modality, one or more.
        limits: What requests are checked against.
    """

    def __init__(self, modality: Modality, models: Catalog, limits: Limits) -> None:
        self.modality, self.models, self.limits = modality, models, limits

    @property
    def title(self) -> str:
        """The label of the tab."""
        return self.modality.name.capitalize()

    @abstractmethod
    def build(self) -> None:
        """Add the components of the tab to the page that is being built."""

    @abstractmethod
    def build_score(self) -> None:
        """Add the components of its part of the Score tab."""

    @abstractmethod
    def endpoints(self) -> dict[str, Callable[..., Any]]:
        """Functions for programs, by name: plain values in, plain JSON and files out, under the same limits.

        Their signatures and docstrings are the documentation of the API.
        """

    def more(self) -> dict[str, Callable[[], None]]:
        """Further tabs of the modality: functions that build them, by title."""
        return {}


def register(modality: str, cls: type[Tab]) -> None:
    """Make a class the tab of the modality of that name; tabs stand in the order of their registration.

    A package outside calls it when it is imported. Raises SeqgenError where another class is the tab already.
    """
    known = TABS.setdefault(modality, cls)
    if (known.__module__, known.__qualname__) != (cls.__module__, cls.__qualname__):
        raise SeqgenError(f"two tabs for the modality {modality!r}: {known.__qualname__} and {cls.__qualname__}")
    TABS[modality] = cls
