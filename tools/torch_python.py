"""Makes what the server takes over of PyTorch's own Python: `torch.distributions`, without texts and types.

The values of these classes are decided by which operators they call in which order, so the server runs PyTorch's own lines,
which it is built with as with libtorch: `setup.py libtorch` has them written from the wheel. Nothing else of PyTorch's Python
is taken over.
"""
import ast
from pathlib import PurePath

# What the files need of modules that the server does not have, by module and name.
INSTEAD = {
    "torch.types": {"_Number": "(int, float, bool)", "Number": "(int, float, bool)", "_size": None, "Device": None,
                    "_dtype": None},
    "numbers": {"Number": "(int, float, bool)", "Real": "(int, float, bool)"},
    "torch.overrides": {"is_tensor_like": "torch.is_tensor"},
}
DROPPED = {"torch.autograd", "torch.autograd.function", "typing", "typing_extensions", "weakref", "torch.jit", "collections.abc"}
TYPES = {"Generic", "T", "R"}
# A function of its own backward pass, as a sample with a summand that is zero and has its gradient.
# A property that says of itself, asked for on the class, which numbers it may be.
DEPENDENT = """
class _DependentProperty(_Dependent):

    def __init__(self, fn=None, *, is_discrete=NotImplemented, event_dim=NotImplemented):
        self._fn = fn
        super().__init__(is_discrete=is_discrete, event_dim=event_dim)

    def __call__(self, fn):
        return _DependentProperty(fn, is_discrete=self._is_discrete, event_dim=self._event_dim)

    def __get__(self, instance, owner=None):
        return self if instance is None else self._fn(instance)
"""
DIRICHLET = """
def _dirichlet(concentration):
    x = _aten("_sample_dirichlet")(concentration.detach())
    if not concentration.requires_grad:
        return x
    total = concentration.detach().sum(-1, True).expand_as(concentration)
    grad = _aten("_dirichlet_grad")(x, concentration.detach(), total) * concentration
    tangent = grad - x * grad.sum(-1, True)
    return x + (tangent - tangent.detach())
"""


class Plain(ast.NodeTransformer):
    """Takes out documentation, types, and what a traced program would do."""

    def __init__(self, package):
        self.package = package

    def body(self, node):
        self.generic_visit(node)
        if node.body and isinstance(node.body[0], ast.Expr) and isinstance(node.body[0].value, ast.Constant):
            del node.body[0]
        node.body = node.body or [ast.Pass()]
        return node

    def visit_Module(self, node):
        return self.body(node)

    def visit_ClassDef(self, node):
        if node.name == "_Dirichlet":
            return ast.parse(DIRICHLET).body
        if node.name == "_DependentProperty":
            return ast.parse(DEPENDENT).body
        if node.name == "_lazy_property_and_property":
            return None
        node.bases = [base for base in node.bases
                      if not (isinstance(base, ast.Subscript) and ast.unparse(base.value) in TYPES)]
        return self.body(node)

    def visit_FunctionDef(self, node):
        if node.name in ("_add_kl_info", "_Dirichlet_backward"):
            return None
        names = [ast.unparse(decorator) for decorator in node.decorator_list]
        if "overload" in names:
            return None
        node.decorator_list = [decorator for decorator, name in zip(node.decorator_list, names)
                               if not name.startswith(("deprecated", "torch.jit."))]
        node.returns = None
        for argument in [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs, node.args.vararg, node.args.kwarg]:
            if argument is not None:
                argument.annotation = None
        return self.body(node)

    def visit_AnnAssign(self, node):
        self.generic_visit(node)
        return ast.Assign([node.target], node.value, lineno=node.lineno) if node.value is not None else None

    def visit_Assign(self, node):
        self.generic_visit(node)
        if isinstance(node.value, ast.Call) and ast.unparse(node.value.func) == "TypeVar":
            return None
        if ast.unparse(node.targets[0]) == "__all__":
            names = sorted(item.value for item in node.value.elts)
            if not names:
                return None
            node.value = ast.Tuple([ast.Constant(name) for name in names], ast.Load())
        return node

    def visit_Import(self, node):
        names = [name for name in node.names if name.name not in DROPPED]
        return ast.Import(names) if names else None

    def visit_ImportFrom(self, node):
        module = f"{self.package}.{node.module}" if node.level else node.module
        if module in DROPPED:
            return None
        if module in INSTEAD:
            lines = [f"{name.name} = {INSTEAD[module][name.name]}" for name in node.names if INSTEAD[module][name.name]]
            return ast.parse("\n".join(lines)).body
        names = [name for name in node.names if name.name != "SymInt"]
        return ast.ImportFrom(module, names, 0)

    def visit_Call(self, node):
        self.generic_visit(node)
        name = ast.unparse(node.func)
        if name == "torch._C._get_tracing_state":
            return ast.Constant(False)
        if name == "self.__new__":
            node.func = ast.parse("object.__new__", mode="eval").body
        if name == "torch._C._infer_size":
            node.func = ast.parse("torch.broadcast_shapes", mode="eval").body
        if name == "_lazy_property_and_property":
            return ast.Name("self")
        if name == "torch._is_all_true":
            node.func = ast.parse("torch.all", mode="eval").body
        if name == "_Dirichlet.apply":
            node.func = ast.Name("_dirichlet")
        # Operators that only the server's own texts reach.
        if name in ("torch._standard_gamma", "torch._sample_dirichlet"):
            node.func = ast.parse(f"_aten({name.removeprefix('torch.')!r})", mode="eval").body
        if name == "weakref.ref":
            return ast.parse(f"(lambda: {ast.unparse(node.args[0])})", mode="eval").body
        if name == "cast":
            return node.args[1]
        return node


def names_of(tree):
    """The names that a module shows, where it does not say so itself."""
    return sorted(node.name for node in tree.body if isinstance(node, ast.ClassDef | ast.FunctionDef) and node.name[0] != "_")


def own_of(tree):
    """The names that other modules find besides."""
    names = set()
    for node in tree.body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            names.add(node.name)
        elif isinstance(node, ast.ImportFrom):
            names |= {name.asname or name.name for name in node.names if node.module.startswith("torch.distributions")}
        elif isinstance(node, ast.Assign):
            names |= {target.id for target in node.targets if isinstance(target, ast.Name)}
    return tuple(sorted(names - {"__all__", "_Number", "Number"}))


def made(sources):
    """Makes one text of the modules of `torch.distributions`, which are given by their files' names."""
    parts = []
    for name in sorted(sources):
        module = PurePath(name).stem
        if module == "__init__":
            continue
        tree = ast.fix_missing_locations(Plain("torch.distributions").visit(ast.parse(sources[name])))
        text = ast.unparse(tree)
        if "__all__ =" not in text:
            text = f"__all__ = {tuple(names_of(tree))}\n{text}"
        parts.append(f"#### torch.distributions.{module}\n{text}\n__sent__ = {own_of(tree)}\n")
    return "".join(parts)
