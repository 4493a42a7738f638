# Runs a script whose requests go to the stand-in for the server, whatever server the script names: a script that sets
# NDIF_HOST itself would be run in earnest otherwise. nnsight is changed where the script imports it, and no sooner, for
# what a script sets before that has to be set.
import importlib.abc
import importlib.util
import os
import runpy
import sys

MODULE = "nnsight.intervention.backends.remote"
HOST = os.environ.pop("VITRINE_STAND_IN")


class Finder(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name != MODULE:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        if spec is None or spec.loader is None:
            return spec
        execute = spec.loader.exec_module

        def then_send_here(module):
            execute(module)
            begin = module.RemoteBackend.__init__

            def initialize(self, model_key, host=None, *more, **named):
                begin(self, model_key, HOST, *more, **named)
                # Nobody waits for a job: there is nothing to show of one.
                self.display.enabled = False

            module.RemoteBackend.__init__ = initialize

        spec.loader.exec_module = then_send_here
        return spec


sys.meta_path.insert(0, Finder())
sys.argv = sys.argv[1:]
sys.path[0] = os.path.dirname(os.path.abspath(sys.argv[0]))
runpy.run_path(sys.argv[0], run_name="__main__")
