__all__ = ("heapify", "heappop", "heappush", "heappushpop", "heapreplace", "merge", "nlargest", "nsmallest")


def _checked(heap, argument):
    if not isinstance(heap, list):
        raise TypeError(f"{argument} must be list, not {type(heap).__name__}")
    return heap


def _rise(heap, position, top):
    """Moves an element towards the top until its parent is no larger."""
    item = heap[position]
    while position > top:
        parent = (position - 1) >> 1
        above = heap[parent]
        if not item < above:
            break
        heap[position] = above
        position = parent
    heap[position] = item


def _sink(heap, top):
    """Moves the smaller children up, then the element from the bottom: fewer comparisons than on the way down."""
    item, end, position = heap[top], len(heap), top
    child = 2 * top + 1
    while child < end:
        if child + 1 < end and not heap[child] < heap[child + 1]:
            child += 1
        heap[position] = heap[child]
        position, child = child, 2 * child + 1
    heap[position] = item
    _rise(heap, position, top)


def heapify(heap, /):
    for position in reversed(range(len(_checked(heap, "heapify() argument")) // 2)):
        _sink(heap, position)


def heappush(heap, item, /):
    _checked(heap, "heappush() argument 1").append(item)
    _rise(heap, len(heap) - 1, 0)


def heappop(heap, /):
    if not _checked(heap, "heappop() argument"):
        raise IndexError("index out of range")
    last = heap.pop()
    return heapreplace(heap, last) if heap else last


def heapreplace(heap, item, /):
    if not _checked(heap, "heapreplace() argument 1"):
        raise IndexError("index out of range")
    first, heap[0] = heap[0], item
    _sink(heap, 0)
    return first


def heappushpop(heap, item, /):
    if _checked(heap, "heappushpop() argument 1") and heap[0] < item:
        return heapreplace(heap, item)
    return item


def nlargest(n, iterable, key=None):
    return sorted(iterable, key=key, reverse=True)[:max(n, 0)]


def nsmallest(n, iterable, key=None):
    return sorted(iterable, key=key)[:max(n, 0)]


def merge(*iterables, key=None, reverse=False):
    """Goes through sorted iterables in order; of equal elements, those of the first come first."""
    heads = []
    for iterator in map(iter, iterables):
        for item in iterator:
            heads.append((item if key is None else key(item), item, iterator))
            break
    while heads:
        first = 0
        for position in range(1, len(heads)):
            if heads[first][0] < heads[position][0] if reverse else heads[position][0] < heads[first][0]:
                first = position
        _, item, iterator = heads[first]
        yield item
        for item in iterator:
            heads[first] = (item if key is None else key(item), item, iterator)
            break
        else:
            del heads[first]
