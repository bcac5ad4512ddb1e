#include "passes/Analysis/RouterHash.h"

#include "dialects/MoE/MoEOps.h"
#include "mlir/IR/Matchers.h"
#include "passes/Analysis/Recipe.h"
#include "passes/Analysis/WeightSource.h"
#include "llvm/Support/SHA256.h"

using namespace mlir;
using namespace moe;

/// The numbers of a router's weight; empty where they are no constant.
static FailureOr<Numbers> numbersOf(RouterOp router, WeightSource &weights) {
  Value value = router.getWeight();
  Numbers numbers;
  DenseElementsAttr constant;
  if (auto weight = value.getDefiningOp<WeightOp>()) {
    auto read = evaluate(router, SliceAttr::get(weight.getBankAttr()), weights);
    if (failed(read))
      return failure();
    numbers = std::move(*read);
  } else if (matchPattern(value, m_Constant(&constant)) &&
             isa<FloatType>(constant.getElementType())) {
    auto type = cast<ShapedType>(constant.getType());
    numbers = Numbers(type.getDimSize(0), type.getDimSize(1));
    for (auto [to, from] :
         llvm::zip(numbers.values, constant.getValues<APFloat>()))
      to = from.convertToDouble();
  }
  return router.getTransposed() ? transposed(numbers) : numbers;
}

FailureOr<std::vector<RouterHash>> moe::routerHashes(ModuleOp module,
                                                     WeightSource &weights) {
  std::vector<RouterHash> hashes;
  WalkResult walked = module.walk([&](GateOp gate) {
    auto router = gate.getLogits().getDefiningOp<RouterOp>();
    if (!router || router.getKind() != RouterKind::Linear ||
        !router.getWeight())
      return WalkResult::advance();
    auto numbers = numbersOf(router, weights);
    if (failed(numbers))
      return WalkResult::interrupt();
    if (numbers->values.empty())
      return WalkResult::advance();
    std::string bytes =
        writeNumbers(numbers->values, Float32Type::get(module.getContext()));
    auto digest = llvm::SHA256::hash(ArrayRef<uint8_t>(
        reinterpret_cast<const uint8_t *>(bytes.data()), bytes.size()));
    hashes.push_back({gate.getLayer().value_or("moe").str(),
                      std::string(digest.begin(), digest.end())});
    return WalkResult::advance();
  });
  if (walked.wasInterrupted())
    return failure();
  return hashes;
}
