"""Optional jaxtyping and pydantic imports for annotations, with no-op fallbacks.

So explainers and models also run where only torch, torchvision, numpy and scipy are installed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Float32, Float64, Int64, Integer, Shaped, UInt8
    from pydantic import Field
else:
    try:
        from jaxtyping import Bool, Float, Float32, Float64, Int64, Integer, Shaped, UInt8
    except ModuleNotFoundError:

        class _Unchecked:
            def __class_getitem__(cls, item: Any) -> Any:
                return Any

        Bool = Float = Float32 = Float64 = Int64 = Integer = Shaped = UInt8 = _Unchecked
    try:
        from pydantic import Field
    except ModuleNotFoundError:

        def Field(**bounds: Any) -> Any:
            return bounds


__all__ = ["Bool", "Field", "Float", "Float32", "Float64", "Int64", "Integer", "Shaped", "UInt8"]
