"""Evaluates a file of cases in real Python: one line of JSON for each, in order."""
import json
import sys
import warnings

warnings.simplefilter("ignore")
prelude = compile(open(sys.argv[1]).read(), "prelude", "exec")
for line in open(sys.argv[2]):
    line = line.rstrip("\n")
    if not line or line.startswith("#"):
        continue
    scope = {}
    exec(prelude, scope)
    *statements, expression = line.replace("\\n", "\n").split(" ;; ")
    source = "\n".join([*statements, f"result = describe({expression})"])
    try:
        exec(compile(source, "case", "exec"), scope)
        outcome = repr(scope["result"])
    except Exception as error:
        outcome = f"{type(error).__name__}: {error}"
    print(json.dumps(outcome))
