#include "passes/Raise/FindLayers.h"
#include "mlir/IR/Builders.h"
#include "mlir/IR/Remarks.h"
#include "passes/Raise/LayerProbe.h"

using namespace mlir;
using namespace moe;
using onnx::NodeOp;

static constexpr remark::RemarkOpts raise =
    remark::RemarkOpts::name("experts").category("moe-raise");

/// True where a value of nearby nodes is chosen by size: the mark of a router.
static bool reachesChoice(Value logits, const LinearLayers &layers) {
  SmallVector<Value> work = {logits};
  llvm::DenseSet<Value> seen;
  for (unsigned steps = 0; !work.empty() && steps < 64; ++steps) {
    Value value = work.pop_back_val();
    if (!seen.insert(value).second)
      continue;
    for (Operation *user : value.getUsers()) {
      auto node = dyn_cast<NodeOp>(user);
      if (!node || node.is("MatMul") || node.is("Gemm"))
        continue;
      if (node.is("TopK") || node.is("ArgMax"))
        return true;
      work.append(node->result_begin(), node->result_end());
    }
  }
  return false;
}

namespace {
/// Expert bodies over one value, and the linear layers that may route them.
struct Group {
  SmallVector<const ExpertBody *> bodies;
  SmallVector<Value> routers;
};
} // namespace

static std::string listOf(ArrayRef<int64_t> numbers) {
  std::string text;
  for (size_t i = 0; i < numbers.size(); ++i)
    text += (i ? ", " : "") + std::to_string(numbers[i]);
  return text;
}

/// A router in messages: by the name of its node, where that has one.
static std::string routerName(Operation *router) {
  auto name = dyn_cast<NameLoc>(router->getLoc());
  if (!name || name.getName().empty())
    return "this router";
  return "router '" + name.getName().str() + "'";
}

LogicalResult moe::findLayers(FunctionOpInterface function, BankNames &banks,
                              std::vector<MoELayerMatch> &matches) {
  LinearLayers layers = findLinearLayers(function);
  std::vector<ExpertBody> bodies = findExpertBodies(layers);
  llvm::MapVector<Value, Group> groups;
  llvm::DenseSet<Value> inBodies;
  for (const ExpertBody &body : bodies) {
    groups[tokenRoot(body.input)].bodies.push_back(&body);
    inBodies.insert(body.output);
    for (const LinearLayer *layer :
         {&body.first.front(), &body.first.back(), &body.down}) {
      inBodies.insert(layer->result);
      for (const LinearLayer &part : layer->parts)
        inBodies.insert(part.result);
    }
  }
  for (const auto &[result, layer] : layers) {
    auto group = groups.find(tokenRoot(layer.data));
    if (group != groups.end() && !inBodies.contains(result) &&
        !layer.isStacked() && layer.outputs() > 1 &&
        reachesChoice(result, layers))
      group->second.routers.push_back(result);
  }

  std::optional<SymbolicShapes> shapes;
  for (auto &[tokens, group] : groups) {
    auto type = dyn_cast<RankedTensorType>(tokens.getType());
    if (group.routers.empty() || !type || type.getRank() < 2 ||
        type.getShape().back() != group.bodies[0]->features())
      continue;
    int64_t columns = 0;
    for (const ExpertBody *body : group.bodies)
      columns += body->count();
    for (Value router : group.routers) {
      LayerCandidate candidate;
      candidate.tokens = tokens;
      candidate.logits = router;
      candidate.experts = layers.find(router)->second.outputs();
      // Bodies that read rows of one width and give rows of one width.
      for (const ExpertBody *body : group.bodies)
        if (body->features() == group.bodies[0]->features() &&
            body->outputs() == group.bodies[0]->outputs())
          candidate.bodies.push_back(body);
      if (columns < 2)
        continue;
      if (!shapes)
        shapes.emplace(function);
      candidate.shapes = &*shapes;
      MoELayerMatch match;
      Refusal refusal;
      Operation *where = router.getDefiningOp();
      if (explainLayer(candidate, layers, banks, match, refusal)) {
        matches.push_back(std::move(match));
        break;
      }
      if (!refusal.lost.empty())
        return where->emitError("the router scores ")
               << candidate.experts
               << " experts, but the file holds no branch for expert "
               << listOf(refusal.lost)
               << ": it was traced with an input that did not reach them; "
                  "export it with all experts";
      if (StringRef(refusal.reason).starts_with(kBadExpertId))
        return where->emitError("the layer of ")
               << routerName(where) << " is broken: " << refusal.reason;
      remark::missed(where->getLoc(), raise)
          << remark::reason("{0}", refusal.reason)
          << remark::metric("experts", candidate.experts)
          << remark::metric("bodies", columns);
    }
  }
  return success();
}
