from tqdm import TqdmWarning, tqdm, tqdm_notebook, trange

__all__ = ("TqdmWarning", "tqdm", "tqdm_notebook", "trange")
# The class that `tqdm.auto.tqdm` is, where it was brought in before.
__sent__ = ("tqdm_asyncio",)

tqdm_asyncio = tqdm
