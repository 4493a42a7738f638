#### moments and densities
import warnings
import torch
import torch.distributions as D
# Samples of a Wishart distribution may be told to be singular.
warnings.simplefilter("ignore")
t = torch.tensor
def show(name, d, value):
    print(name, type(d).__name__)
    for part in ("mean", "variance", "stddev", "mode", "entropy", "batch_shape", "event_shape", "support"):
        try:
            found = getattr(d, part)
            found = found() if part == "entropy" else found
            if isinstance(found, torch.Tensor):
                print(part, found.tolist(), found.dtype, tuple(found.shape))
            elif part in ("batch_shape", "event_shape"):
                print(part, tuple(found))
            else:
                print(part, type(found).__name__)
        except (NotImplementedError, AttributeError) as e:
            print(part, type(e).__name__)
    for call in ("log_prob", "cdf"):
        try:
            print(call, getattr(d, call)(value).tolist())
        except (NotImplementedError, ValueError) as e:
            print(call, type(e).__name__, str(e)[:60])
    torch.manual_seed(3)
    s = d.sample((2,))
    print("sample", s.tolist(), tuple(s.shape))
    if d.has_rsample:
        torch.manual_seed(3)
        print("rsample", d.rsample((3,)).tolist())
    try:
        print("expand", tuple(d.expand((2, *d.batch_shape)).sample().shape))
    except NotImplementedError as e:
        print("expand", type(e).__name__)
p = t([0.2, 0.7])
show("bernoulli", D.Bernoulli(p), t([1.0, 0.0]))
show("bernoulli logits", D.Bernoulli(logits=t([0.5, -1.0])), t([1.0, 0.0]))
show("beta", D.Beta(t([0.5, 2.0]), t([1.0, 3.0])), p)
show("binomial", D.Binomial(10, p), t([3.0, 8.0]))
show("categorical", D.Categorical(t([[0.1, 0.2, 0.7], [0.3, 0.3, 0.4]])), t([1, 2]))
show("cauchy", D.Cauchy(0.0, t([1.0, 2.0])), p)
show("chi2", D.Chi2(t([1.0, 3.0])), p)
show("cb", D.ContinuousBernoulli(p), p)
show("dirichlet", D.Dirichlet(t([0.5, 1.0, 2.0])), t([0.2, 0.3, 0.5]))
show("exponential", D.Exponential(t([1.0, 2.0])), p)
show("f", D.FisherSnedecor(t([1.0, 2.0]), t([3.0, 5.0])), p)
show("gamma", D.Gamma(t([0.5, 2.0]), 1.5), p)
show("geometric", D.Geometric(p), t([2.0, 0.0]))
show("gumbel", D.Gumbel(t([0.0, 1.0]), 2.0), p)
show("halfcauchy", D.HalfCauchy(t([1.0, 2.0])), p)
show("halfnormal", D.HalfNormal(t([1.0, 2.0])), p)
show("independent", D.Independent(D.Normal(t([0.0, 1.0]), 1.0), 1), p)
show("inversegamma", D.InverseGamma(t([3.0, 4.0]), 1.0), p)
show("kumaraswamy", D.Kumaraswamy(t([1.0, 2.0]), t([2.0, 3.0])), p)
show("laplace", D.Laplace(t([0.0, 1.0]), 2.0), p)
show("lkj", D.LKJCholesky(3, 0.5), torch.eye(3))
show("lognormal", D.LogNormal(t([0.0, 1.0]), 0.5), p)
show("logisticnormal", D.LogisticNormal(t([0.0, 1.0]), t([1.0, 1.0])), t([0.2, 0.3, 0.5]))
show("lowrank", D.LowRankMultivariateNormal(torch.zeros(2), t([[1.0], [0.5]]), torch.ones(2)), p)
show("mixture", D.MixtureSameFamily(D.Categorical(p), D.Normal(t([0.0, 1.0]), 1.0)), t(0.3))
show("multinomial", D.Multinomial(5, t([0.2, 0.3, 0.5])), t([1.0, 2.0, 2.0]))
show("mvn", D.MultivariateNormal(torch.zeros(2), t([[2.0, 0.5], [0.5, 1.0]])), p)
show("mvn precision", D.MultivariateNormal(torch.zeros(2), precision_matrix=t([[2.0, 0.5], [0.5, 1.0]])), p)
show("negbin", D.NegativeBinomial(3.0, p), t([2.0, 5.0]))
show("normal", D.Normal(t([0.0, 1.0]), 2.0), p)
show("onehot", D.OneHotCategorical(t([0.2, 0.8])), t([0.0, 1.0]))
show("onehot st", D.OneHotCategoricalStraightThrough(t([0.2, 0.8])), t([0.0, 1.0]))
show("pareto", D.Pareto(1.0, t([1.0, 3.0])), t([2.0, 3.0]))
show("poisson", D.Poisson(t([1.0, 4.0])), t([2.0, 3.0]))
show("relaxed bernoulli", D.RelaxedBernoulli(t(0.5), p), p)
show("relaxed onehot", D.RelaxedOneHotCategorical(t(0.5), t([0.2, 0.8])), t([0.4, 0.6]))
show("student", D.StudentT(t([3.0, 5.0])), p)
show("uniform", D.Uniform(t([0.0, -1.0]), t([1.0, 1.0])), p)
show("vonmises", D.VonMises(t([0.0, 1.0]), t([1.0, 4.0])), p)
show("weibull", D.Weibull(t([1.0, 2.0]), 1.5), p)
show("wishart", D.Wishart(t(4.0), torch.eye(2)), torch.eye(2) * 2)
show("pareto2", D.GeneralizedPareto(0.0, t([1.0, 2.0]), 0.1), p)
#### divergences
import torch
import torch.distributions as D
t = torch.tensor
pairs = [
    (D.Normal(0.0, 1.0), D.Normal(t([1.0, 2.0]), 2.0)), (D.Bernoulli(0.3), D.Bernoulli(t([0.5]))),
    (D.Categorical(t([0.2, 0.8])), D.Categorical(t([0.5, 0.5]))), (D.Beta(1.0, 2.0), D.Beta(2.0, 2.0)),
    (D.Gamma(1.0, 2.0), D.Gamma(2.0, 3.0)), (D.Dirichlet(t([1.0, 2.0])), D.Dirichlet(t([2.0, 2.0]))),
    (D.Exponential(1.0), D.Exponential(2.0)), (D.Laplace(0.0, 1.0), D.Laplace(1.0, 2.0)),
    (D.MultivariateNormal(torch.zeros(2), torch.eye(2)), D.MultivariateNormal(torch.ones(2), torch.eye(2) * 2)),
    (D.Uniform(0.0, 1.0), D.Uniform(-1.0, 2.0)), (D.Uniform(0.0, 1.0), D.Normal(0.0, 1.0)), (D.Poisson(1.0), D.Poisson(2.0)),
    (D.Independent(D.Normal(torch.zeros(2), 1.0), 1), D.Independent(D.Normal(torch.ones(2), 1.0), 1)),
    (D.Geometric(0.5), D.Geometric(0.2)), (D.HalfNormal(1.0), D.HalfNormal(2.0)), (D.Pareto(1.0, 2.0), D.Exponential(1.0)),
]
for p, q in pairs:
    print(type(p).__name__, D.kl_divergence(p, q).tolist())
try:
    D.kl_divergence(D.Normal(0.0, 1.0), D.Cauchy(0.0, 1.0))
except NotImplementedError as e:
    print(e)
#### transforms
import torch
import torch.distributions as D
from torch.distributions import transforms as T, constraints
x = torch.tensor([[0.3, -0.7, 1.2], [0.1, 0.2, 0.3]])
for made in (T.ExpTransform(), T.SigmoidTransform(), T.TanhTransform(), T.SoftplusTransform(), T.AffineTransform(1.0, 2.0),
             T.PowerTransform(2.0), T.AbsTransform(), T.SoftmaxTransform(), T.StickBreakingTransform(),
             T.ComposeTransform([T.AffineTransform(0.0, 3.0), T.SigmoidTransform()]), T.IndependentTransform(T.ExpTransform(), 1),
             T.ReshapeTransform((3,), (3, 1)), T.identity_transform):
    value = x.abs() if isinstance(made, T.PowerTransform) else x
    y = made(value)
    print(type(made).__name__, y.tolist(), made.inv(y).tolist())
    try:
        print(made.log_abs_det_jacobian(value, y).tolist())
    except NotImplementedError as e:
        print(type(e).__name__)
for constraint in (constraints.positive, constraints.unit_interval, constraints.simplex, constraints.interval(-1.0, 2.0), constraints.real):
    print(constraint, constraint.check(x.abs()).tolist(), D.transform_to(constraint)(x).tolist())
print(D.biject_to(constraints.positive)(x).tolist())
d = D.TransformedDistribution(D.Normal(torch.zeros(2), torch.ones(2)), [T.AffineTransform(1.0, 2.0), T.ExpTransform()])
print(d.log_prob(torch.tensor([2.0, 3.0])).tolist())
#### errors and gradients
import torch
import torch.distributions as D
for make in (lambda: D.Normal(0.0, -1.0), lambda: D.Bernoulli(1.5), lambda: D.Bernoulli(), lambda: D.Categorical(torch.tensor(1.0)), lambda: D.Normal(0.0, 1.0).log_prob("a"), lambda: D.Beta(1.0, 1.0).log_prob(torch.tensor(2.0))):
    try:
        make()
    except Exception as e:
        print(type(e).__name__, str(e))
for make in (lambda a: D.Normal(a, 1.0), lambda a: D.Gamma(a.abs() + 1, 1.0), lambda a: D.Dirichlet(a.abs() + 1), lambda a: D.Beta(a.abs() + 1, 2.0), lambda a: D.Exponential(a.abs() + 1)):
    a = torch.tensor([0.5, 1.5], requires_grad=True)
    torch.manual_seed(1)
    (make(a).rsample() * torch.tensor([1.0, 2.0])).sum().backward()
    print(["%.5f" % g for g in a.grad.tolist()])
class Mine(D.Distribution):
    arg_constraints = {}
    def sample(self, shape=torch.Size()):
        return torch.zeros(shape)
print(Mine(validate_args=False).sample((2,)), repr(D.Normal(0.0, 1.0)), repr(D.Normal(torch.zeros(2), 1.0)), D.Categorical(logits=torch.zeros(3)))
