// Gradients: what is recorded, hooks, and walks through graphs.
#include "guard.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <ATen/record_function.h>
#include <c10/core/AutogradState.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/function.h>
#include <torch/csrc/autograd/functions/accumulate_grad.h>
#include <torch/csrc/autograd/functions/utils.h>
#include <torch/csrc/autograd/saved_variable.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <memory>
#include <numeric>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

namespace {

// Takes over tensors, or nulls for undefined ones.
torch::autograd::variable_list taken(const std::vector<void*>& made) {
  torch::autograd::variable_list tensors;
  for (void* one : made) {
    std::unique_ptr<at::Tensor> own(static_cast<at::Tensor*>(one));
    tensors.push_back(own == nullptr ? at::Tensor() : *own);
  }
  return tensors;
}

// A product with a weight that has no gradient: what goes in has that of the product, times the weight.
struct ProductBackward : torch::autograd::Node {
  Product multiply;
  std::shared_ptr<void> context;
  // Names the product that this is a part of: those of other parts have the same.
  uint64_t moment;
  bool released = false;
  // Whether the gradient goes to a `JoinedBackward`, together with those of other parts.
  bool joined = false;

  ProductBackward(Product multiply, std::shared_ptr<void> context, uint64_t moment)
      : multiply(multiply), context(std::move(context)), moment(moment) {}

  torch::autograd::variable_list apply(torch::autograd::variable_list&& gradients) override {
    // Nothing is saved here that could be lost, but beside any other function PyTorch's own product would be.
    TORCH_CHECK(!released, torch::autograd::ERR_BACKWARD_TWICE);
    if (joined) return std::move(gradients);
    return {multiplied(multiply, {context.get()}, gradients).at(0)};
  }

  static torch::autograd::variable_list multiplied(
      Product multiply, const std::vector<const void*>& contexts, const torch::autograd::variable_list& gradients) {
    std::vector<const void*> given;
    for (const auto& gradient : gradients) given.push_back(gradient.defined() ? &gradient : nullptr);
    std::vector<void*> made(given.size(), nullptr);
    const bool done = multiply(contexts.data(), given.data(), given.size(), at::GradMode::is_enabled(), made.data());
    auto results = taken(made);
    TORCH_CHECK(done, "the gradient of a product could not be computed");
    return results;
  }

  void release_variables() override { released = true; }
  std::string name() const override { return "LinearBackward0"; }

  // Has the gradient go elsewhere, and returns where it went.
  torch::autograd::edge_list redirect(torch::autograd::edge_list edges, bool join) {
    joined = join;
    next_edges_.swap(edges);
    return edges;
  }
};

// Takes a gradient on from a `JoinedBackward`, in memory that its owner pays for: of the joint product it is a view.
struct ReturnedBackward : torch::autograd::Node {
  explicit ReturnedBackward(const ProductBackward& product)
      : Node(product.sequence_nr(), torch::autograd::edge_list(product.next_edges())) {
    const auto& edge = next_edge(0);
    input_metadata_.push_back(edge.function->input_metadata(edge.input_nr));
  }

  torch::autograd::variable_list apply(torch::autograd::variable_list&& gradients) override {
    const at::Tensor& gradient = gradients.at(0);
    return {gradient.defined() ? gradient.clone() : gradient};
  }
};

// The products of one moment that a walk comes by, multiplied as one.
struct JoinedBackward : torch::autograd::Node {
  std::vector<std::shared_ptr<ProductBackward>> parts;

  explicit JoinedBackward(std::vector<std::shared_ptr<ProductBackward>> joined)
      : Node(joined.front()->sequence_nr()), parts(std::move(joined)) {
    for (const auto& part : parts) {
      input_metadata_.push_back(part->input_metadata(0));
      add_next_edge({std::make_shared<ReturnedBackward>(*part), 0});
    }
  }

  torch::autograd::variable_list apply(torch::autograd::variable_list&& gradients) override {
    std::vector<const void*> contexts;
    for (const auto& part : parts) contexts.push_back(part->context.get());
    return ProductBackward::multiplied(parts.front()->multiply, contexts, gradients);
  }
};

// A function whose gradients another one computes.
struct FunctionBackward : torch::autograd::Node {
  Differentiate differentiate;
  std::shared_ptr<void> context;
  std::string called;
  // Whether an output without a gradient has zeros, and whether what was saved is for one walk.
  bool zeros, saves;
  bool released = false;

  FunctionBackward(Differentiate differentiate, std::shared_ptr<void> context, std::string called, bool zeros, bool saves)
      : differentiate(differentiate), context(std::move(context)), called(std::move(called)), zeros(zeros), saves(saves) {}

  torch::autograd::variable_list apply(torch::autograd::variable_list&& gradients) override {
    TORCH_CHECK(!released, torch::autograd::ERR_BACKWARD_TWICE);
    std::vector<const void*> given;
    for (size_t i = 0; i < gradients.size(); i++) {
      if (zeros && !gradients[i].defined()) gradients[i] = input_metadata(i).zeros_like();
      given.push_back(gradients[i].defined() ? &gradients[i] : nullptr);
    }
    std::vector<void*> made(num_outputs(), nullptr);
    const bool done = differentiate(context.get(), given.data(), given.size(), made.data(), made.size());
    auto results = taken(made);
    TORCH_CHECK(done, "the gradient of a function could not be computed");
    return results;
  }

  void release_variables() override { released = saves; }
  std::string name() const override { return called; }
};

// Lets a walk multiply as one what was multiplied as one, until it ends.
class Joining {
 public:
  void add(const std::shared_ptr<ProductBackward>& product) { moments[product->moment].push_back(product); }

  void join() {
    for (auto& [moment, parts] : moments) {
      if (parts.size() < 2) continue;
      auto joint = std::make_shared<JoinedBackward>(parts);
      for (uint32_t i = 0; i < parts.size(); i++) before.emplace_back(parts[i], parts[i]->redirect({{joint, i}}, true));
    }
  }

  ~Joining() {
    for (auto& [product, edges] : before) product->redirect(std::move(edges), false);
  }

 private:
  using Part = std::shared_ptr<ProductBackward>;

  std::unordered_map<uint64_t, std::vector<Part>> moments;
  std::vector<std::pair<Part, torch::autograd::edge_list>> before;
};

// Tells who pays for what the nodes of a walk allocate, by the number that a node has among all of its thread.
struct Owners {
  std::unordered_map<uint64_t, size_t> by_node;
  Pays pays;
};

thread_local const Owners* owners = nullptr;

// Asks, until it ends, the owner of each node to pay.
class Paying {
 public:
  explicit Paying(const Owners& all) : before(std::exchange(owners, &all)) {
    at::RecordFunctionCallback callback(&begins);
    handle = at::addThreadLocalCallback(callback.scopes({at::RecordScope::BACKWARD_FUNCTION}));
  }

  ~Paying() {
    at::removeCallback(handle);
    owners = before;
  }

 private:
  static std::unique_ptr<at::ObserverContext> begins(const at::RecordFunction& node) {
    auto found = owners->by_node.find(static_cast<uint64_t>(node.seqNr()));
    if (found != owners->by_node.end()) owners->pays(found->second);
    return nullptr;
  }

  const Owners* before;
  at::CallbackHandle handle;
};

// Visits the nodes of a graph, each once.
template <typename Visit>
void each_node(const torch::autograd::variable_list& roots, Visit visit) {
  std::vector<torch::autograd::Node*> open;
  std::unordered_set<torch::autograd::Node*> seen;
  // A leaf's node lives no longer than somebody holds it.
  std::vector<torch::autograd::Edge> held;
  auto note = [&](torch::autograd::Node* node) {
    if (node != nullptr && seen.insert(node).second) open.push_back(node);
  };
  for (const auto& root : roots) {
    if (!root.requires_grad()) continue;
    held.push_back(torch::autograd::impl::gradient_edge(root));
    note(held.back().function.get());
  }
  while (!open.empty()) {
    auto* node = open.back();
    open.pop_back();
    visit(node);
    for (const auto& edge : node->next_edges()) note(edge.function.get());
  }
}

torch::autograd::variable_list leaves_of(const torch::autograd::variable_list& roots) {
  torch::autograd::variable_list leaves;
  each_node(roots, [&](torch::autograd::Node* node) {
    if (auto* leaf = dynamic_cast<torch::autograd::AccumulateGrad*>(node)) leaves.push_back(leaf->variable);
  });
  return leaves;
}

// The sizes of what comes to a node by an edge; none where they are not plain numbers.
std::vector<double> sizes_of(const torch::autograd::Node& node, uint32_t place) {
  std::vector<double> sizes;
  if (place >= node.num_inputs() || node.input_metadata(place).is_nested_tensor()) return sizes;
  for (const auto& size : node.input_metadata(place).shape_as_dim_vector()) {
    sizes.push_back(static_cast<double>(size.maybe_as_int().value_or(1)));
  }
  return sizes;
}

double elements_of(const std::vector<double>& sizes) {
  return std::accumulate(sizes.begin(), sizes.end(), 1.0, std::multiplies<>());
}

// About how many multiplications a node takes, counting elements that are passed over as one each.
double work_of(torch::autograd::Node& node) {
  const auto sizes = sizes_of(node, 0);
  const double made = elements_of(sizes);
  std::vector<double> inputs;
  for (const auto& edge : node.next_edges()) {
    if (edge.is_valid()) inputs.push_back(elements_of(sizes_of(*edge.function, edge.input_nr)));
  }
  const std::string name = node.name();
  const auto is = [&](const char* part) { return name.find(part) != std::string::npos; };
  if (is("Attention") && sizes.size() >= 2) {
    // Each position by each, in five products.
    return 5 * made * sizes[sizes.size() - 2];
  }
  if (dynamic_cast<ProductBackward*>(&node) != nullptr) {
    const auto rows = sizes.empty() || sizes.back() == 0 ? 0 : made / sizes.back();
    return rows == 0 || inputs.empty() ? 0 : made * inputs[0] / rows;
  }
  if ((is("MmBackward") || is("mmBackward")) && made > 0) {
    // From the sizes of [n, m], [m, p] and [n, p]. Of a side that is not recorded, the product's stand for its own.
    const double left = inputs.empty() ? made : inputs.front(), right = inputs.size() < 2 ? made : inputs.back();
    return 2 * made * std::sqrt(left * right / made);
  }
  return made + std::accumulate(inputs.begin(), inputs.end(), 0.0);
}

torch::autograd::variable_list tensors_of(const void* const* from, size_t count) {
  torch::autograd::variable_list tensors;
  for (size_t i = 0; i < count; i++) tensors.push_back(from[i] == nullptr ? at::Tensor() : tensor_of(from[i]));
  return tensors;
}

// Keeps a backward pass on the thread that begins it: hooks know which that is, and its allocations are that one's.
struct OneThread {
  bool before = c10::AutogradState::get_tls_state().get_multithreading_enabled();
  OneThread() { c10::AutogradState::get_tls_state().set_multithreading_enabled(false); }
  ~OneThread() { c10::AutogradState::get_tls_state().set_multithreading_enabled(before); }
};

}  // namespace

extern "C" {

bool vt_set_requires_grad(const void* tensor, bool on, Error* error) {
  return guarded(error, [&] {
    const at::Tensor& t = tensor_of(tensor);
    TORCH_CHECK(t.is_leaf() || on,
                "you can only change requires_grad flags of leaf variables. If you want to use a computed variable in a "
                "subgraph that doesn't require differentiation use var_no_grad = var.detach().");
    TORCH_CHECK(!on || torch::autograd::isDifferentiableType(t.scalar_type()),
                "only Tensors of floating point dtype can require gradients");
    t.requires_grad_(on);
  });
}

// The accumulated gradient, or null.
void* vt_grad(const void* tensor, Error* error) {
  void* made = nullptr;
  guarded(error, [&] { made = owned(tensor_of(tensor).grad()); });
  return made;
}

bool vt_set_grad(const void* tensor, const void* gradient, Error* error) {
  return guarded(error, [&] {
    tensor_of(tensor).mutable_grad() = gradient == nullptr ? at::Tensor() : tensor_of(gradient);
  });
}

bool vt_retain_grad(const void* tensor, Error* error) {
  return guarded(error, [&] { tensor_of(tensor).retain_grad(); });
}

// Says whether operations on this thread record what gradients need.
bool vt_recording() { return at::GradMode::is_enabled(); }

// Sets it.
void vt_set_recording(bool on) { at::GradMode::set_enabled(on); }

// Calls the hook with the gradient whenever one reaches the tensor. `drop` ends the hook's life.
bool vt_register_hook(const void* tensor, GradientHook hook, void* context, Drop drop, unsigned* handle, Error* error) {
  std::shared_ptr<void> owner(context, drop);
  return guarded(error, [&] {
    *handle = tensor_of(tensor).register_hook([hook, owner](const at::Tensor& gradient) {
      void* replaced = nullptr;
      hook(owner.get(), &gradient, &replaced);
      if (replaced == nullptr) return at::Tensor();
      std::unique_ptr<at::Tensor> held(static_cast<at::Tensor*>(replaced));
      return *held;
    });
  });
}

bool vt_remove_hook(const void* tensor, unsigned handle, Error* error) {
  return guarded(error, [&] { tensor_of(tensor).remove_hook(handle); });
}

// Lists the leaves that outputs were computed from, malloc'ed.
bool vt_leaves(const void* const* outputs, size_t output_count, void*** results, size_t* result_count, Error* error) {
  return guarded(error, [&] {
    const auto leaves = leaves_of(tensors_of(outputs, output_count));
    auto** data = static_cast<void**>(std::calloc(std::max<size_t>(leaves.size(), 1), sizeof(void*)));
    if (data == nullptr) throw std::bad_alloc();
    for (size_t i = 0; i < leaves.size(); i++) data[i] = owned(leaves[i]);
    *results = data;
    *result_count = leaves.size();
  });
}

// About how many multiplications a walk from these outputs takes.
double vt_graph_work(const void* const* outputs, size_t count) {
  double work = 0;
  quietly([&] { each_node(tensors_of(outputs, count), [&](torch::autograd::Node* node) { work += work_of(*node); }); });
  return work;
}

// Makes a tensor that was computed from `input` by a product its outcome. `drop` ends the context's life.
void* vt_record_product(const void* input, const void* product, void* context, uint64_t moment, Product multiply,
                        Drop drop, Error* error) {
  std::shared_ptr<void> owner(context, drop);
  void* made = nullptr;
  guarded(error, [&] {
    at::Tensor output = tensor_of(product);
    std::shared_ptr<ProductBackward> node(new ProductBackward(multiply, owner, moment), torch::autograd::deleteNode);
    node->set_next_edges(torch::autograd::collect_next_edges(tensor_of(input)));
    torch::autograd::set_history(output, node);
    made = new at::Tensor(output);
  });
  return made;
}

// Makes of each output one that came of the inputs, by a function whose gradients `differentiate` computes. `drop` ends the
// context's life.
bool vt_record_function(const void* const* inputs, size_t input_count, const void* const* outputs, size_t output_count,
                        const char* name, bool zeros, bool saves, void* context, Differentiate differentiate, Drop drop,
                        void** results, Error* error) {
  std::shared_ptr<void> owner(context, drop);
  return guarded(error, [&] {
    std::shared_ptr<FunctionBackward> node(new FunctionBackward(differentiate, owner, name, zeros, saves),
                                           torch::autograd::deleteNode);
    node->set_next_edges(torch::autograd::collect_next_edges(tensors_of(inputs, input_count)));
    for (size_t i = 0; i < output_count; i++) {
      // What the function has kept of it must not lead back to it.
      at::Tensor output = tensor_of(outputs[i]).detach();
      torch::autograd::set_history(output, node);
      pay_for_graph(output);
      results[i] = owned(output);
    }
  });
}

// Computes gradients of `outputs`. With `inputs`, answers theirs in `results` (malloc'ed, null for unused) and
// accumulates nothing; without, accumulates into the leaves.
bool vt_gradients(const void* const* outputs, const void* const* seeds, size_t output_count, const void* const* inputs,
                  size_t input_count, bool accumulate, bool retain_graph, bool create_graph, bool allow_unused,
                  void*** results, Error* error) {
  return guarded(error, [&] {
    auto roots = tensors_of(outputs, output_count);
    auto given = tensors_of(seeds, output_count);
    auto wanted = tensors_of(inputs, input_count);
    at::AutoGradMode mode(true);
    OneThread one_thread;
    if (accumulate) {
      torch::autograd::backward(roots, given, retain_graph, create_graph, wanted);
      if (!create_graph) return;
      for (const auto& leaf : leaves_of(roots)) pay_for_graph(leaf.grad());
      for (const auto& tensor : wanted) pay_for_graph(tensor.grad());
      return;
    }
    auto gradients = torch::autograd::grad(roots, wanted, given, retain_graph, create_graph, allow_unused);
    if (create_graph) std::for_each(gradients.begin(), gradients.end(), pay_for_graph);
    auto** data = static_cast<void**>(std::calloc(std::max<size_t>(gradients.size(), 1), sizeof(void*)));
    if (data == nullptr) throw std::bad_alloc();
    for (size_t i = 0; i < gradients.size(); i++) data[i] = owned(gradients[i]);
    *results = data;
  });
}

// Accumulates gradients of the outputs of several owners, in one walk. Those whose graphs have no product with a weight, or
// were walked and freed, take no part: `walked` tells who did.
bool vt_backward_together(const void* const* outputs, const void* const* seeds, const size_t* owner, size_t output_count,
                          size_t owner_count, bool retain_graph, Pays pays, bool* walked, Error* error) {
  return guarded(error, [&] {
    const auto all_roots = tensors_of(outputs, output_count);
    const auto all_seeds = tensors_of(seeds, output_count);
    torch::autograd::variable_list roots, given;
    Owners owners{{}, pays};
    Joining joining;
    for (size_t own = 0; own < owner_count; own++) {
      torch::autograd::variable_list own_roots, own_seeds;
      for (size_t i = 0; i < output_count; i++) {
        if (owner[i] != own) continue;
        own_roots.push_back(all_roots[i]);
        own_seeds.push_back(all_seeds[i]);
      }
      std::vector<std::shared_ptr<ProductBackward>> products;
      std::vector<uint64_t> nodes;
      bool released = false;
      each_node(own_roots, [&](torch::autograd::Node* node) {
        // Leaves' nodes have no number of their own: what comes to a leaf is paid by whoever it comes from.
        if (dynamic_cast<torch::autograd::AccumulateGrad*>(node) == nullptr) nodes.push_back(node->sequence_nr());
        if (auto* product = dynamic_cast<ProductBackward*>(node)) {
          products.push_back(std::static_pointer_cast<ProductBackward>(product->getptr()));
          released |= product->released;
        }
      });
      walked[own] = !products.empty() && !released;
      if (!walked[own]) continue;
      roots.insert(roots.end(), own_roots.begin(), own_roots.end());
      given.insert(given.end(), own_seeds.begin(), own_seeds.end());
      for (uint64_t node : nodes) owners.by_node.emplace(node, own);
      for (const auto& product : products) joining.add(product);
    }
    if (roots.empty()) return;
    joining.join();
    at::AutoGradMode mode(true);
    OneThread one_thread;
    Paying paying(owners);
    torch::autograd::backward(roots, given, retain_graph, /*create_graph=*/false);
  });
}

// The name of the function that made the tensor, as in `grad_fn=<MulBackward0>`; null for leaves.
char* vt_grad_fn(const void* tensor) {
  try {
    const auto& node = tensor_of(tensor).grad_fn();
    return node == nullptr ? nullptr : copy_text(node->name());
  } catch (...) {
    return nullptr;
  }
}
}
