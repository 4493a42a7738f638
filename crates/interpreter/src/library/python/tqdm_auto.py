from tqdm import TqdmWarning, tqdm, tqdm_notebook, trange

__all__ = ("TqdmWarning", "tqdm", "tqdm_notebook", "trange")
