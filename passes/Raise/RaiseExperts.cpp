#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/Remarks.h"
#include "mlir/Interfaces/FunctionInterfaces.h"
#include "passes/Raise/BakedTrace.h"
#include "passes/Raise/ContribMoE.h"
#include "passes/Raise/FindLayers.h"
#include "passes/Raise/NodeSupport.h"
#include "passes/Raise/Passes.h"

namespace moe {
#define GEN_PASS_DEF_RAISEEXPERTSPASS
#include "passes/Raise/Passes.h.inc"
} // namespace moe

using namespace mlir;
using namespace moe;
using onnx::NodeOp;

namespace {
constexpr remark::RemarkOpts raise =
    remark::RemarkOpts::name("experts").category("moe-raise");

/// The name of a layer: what the names of its weights begin with
/// ("model.layers.3.mlp" of "model.layers.3.mlp.experts.7.up_proj.weight"), or
/// a number where they have no such thing in common.
std::string nameOf(const MoELayerMatch &match, int64_t index) {
  std::optional<StringRef> common;
  for (const ExpertMatch &expert : match.experts)
    for (Attribute matrix : {expert.gate, expert.up, expert.down}) {
      if (!matrix)
        continue;
      auto factored = dyn_cast<FactoredAttr>(matrix);
      auto slice = factored ? factored.getLeft() : cast<SliceAttr>(matrix);
      StringRef name = slice.getBank().getValue();
      if (!common) {
        common = name;
        continue;
      }
      size_t same = 0;
      while (same < common->size() && same < name.size() &&
             (*common)[same] == name[same])
        ++same;
      common = common->take_front(same);
    }
  StringRef name = common.value_or("");
  size_t end = name.find_last_of("./");
  name = end == StringRef::npos ? "" : name.take_front(end);
  for (StringRef part : {".experts", "/experts"})
    name.consume_back(part);
  if (name.empty() || name == "experts")
    return "layer " + std::to_string(index);
  return name.str();
}

struct RaiseExpertsPass : moe::impl::RaiseExpertsPassBase<RaiseExpertsPass> {
  using RaiseExpertsPassBase::RaiseExpertsPassBase;

  void runOnOperation() override {
    BankNames banks(getOperation());
    int64_t layers = 0;
    SmallVector<FunctionOpInterface> functions(
        getOperation().getOps<FunctionOpInterface>());
    for (FunctionOpInterface function : functions) {
      if (failed(refuseBakedTraces(function)) ||
          failed(raiseContrib(function, banks, layers)) ||
          failed(raiseSubgraphs(function, banks, layers)))
        return signalPassFailure();
      eraseDead(function);
    }
    banks.eraseUnused();
  }

  LogicalResult raiseContrib(FunctionOpInterface function, BankNames &banks,
                             int64_t &layers) {
    SmallVector<NodeOp> nodes;
    function.walk([&](NodeOp node) {
      if (isContribMoE(node))
        nodes.push_back(node);
    });
    for (NodeOp node : nodes) {
      FailureOr<MoELayerMatch> match = matchContribMoE(node, banks);
      if (failed(match))
        return failure();
      match->name = nameOf(*match, layers);
      if (failed(emit(*match, banks, layers++)))
        return failure();
    }
    return success();
  }

  LogicalResult raiseSubgraphs(FunctionOpInterface function, BankNames &banks,
                               int64_t &layers) {
    foldDequantize(function, banks);
    foldCodes(function, banks);
    std::vector<MoELayerMatch> matches;
    if (failed(findLayers(function, banks, matches)))
      return failure();
    int64_t first = layers;
    for (auto [i, match] : llvm::enumerate(matches))
      match.name = nameOf(match, first + static_cast<int64_t>(i));
    // The last one first: the tokens of a layer may be the output of another.
    for (size_t i = matches.size(); i-- > 0;) {
      int64_t index = first + static_cast<int64_t>(i);
      if (failed(emit(matches[i], banks, index)))
        return failure();
    }
    layers = first + static_cast<int64_t>(matches.size());
    return success();
  }

  LogicalResult emit(const MoELayerMatch &match, BankNames &banks,
                     int64_t index) {
    Location loc = match.output.getDefiningOp()->getLoc();
    if (failed(emitLayer(match, banks, index)))
      return failure();
    remark::passed(loc, raise)
        << "raised " << match.name << remark::metric("encoding", match.encoding)
        << remark::metric("experts", static_cast<int64_t>(match.experts.size()))
        << remark::metric("top_k", match.gate.topK);
    return success();
  }
};
} // namespace
