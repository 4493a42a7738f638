from copy import deepcopy

__all__ = ("__deepcopy__",)


def _part(value, memo, *made):
    """Copies a part, or notes what a module is copied to."""
    if made:
        memo[id(value)] = made[0]
        return None
    return deepcopy(value, memo)


def __deepcopy__(self, memo):
    return _copied(self, memo, _part)
