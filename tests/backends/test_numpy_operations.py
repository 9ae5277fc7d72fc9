"""The NumPy backend has a function for every operation that a plan may hold."""

from __future__ import annotations

import importlib
import pkgutil

from oxillama_web.backends.numpy import executor, forward_pass
from oxillama_web.plan import operations as operations_package
from oxillama_web.plan.operations.experts import GatherExperts
from oxillama_web.plan.operations.linear import Quantize
from oxillama_web.plan.plan import Operation


def test_every_operation_has_a_function() -> None:
    modules = [
        importlib.import_module(f"{operations_package.__name__}.{module.name}")
        for module in pkgutil.iter_modules(operations_package.__path__)
    ]
    operations = {
        found
        for module in modules
        for found in vars(module).values()
        if isinstance(found, type) and issubclass(found, Operation) and hasattr(found, "kind")
    }
    assert executor  # its import registers the functions
    # lowering alone inserts these, for the kernels
    assert operations - {Quantize, GatherExperts} == set(forward_pass._FUNCTIONS)
    assert len({operation.kind for operation in operations}) == len(operations)
