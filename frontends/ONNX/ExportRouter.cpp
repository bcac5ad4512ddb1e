// Routers.
#include "frontends/ONNX/ExporterImpl.h"

using namespace mlir;
using namespace moe;
using namespace moe::onnx;

LogicalResult Exporter::exportRouter(RouterOp router) {
  Location loc = router.getLoc();
  if (router.getSeed() || router.getStandardize() ||
      router.getKind() == RouterKind::Distance)
    return emitError(loc) << "a router with "
                          << (router.getSeed()          ? "a seed"
                              : router.getStandardize() ? "standardised logits"
                                                        : "distances")
                          << " cannot be written as ONNX";
  prefix = "router/";
  Type type = elementOf(router.getLogits());
  std::string input = nameOf(router.getInput());
  auto operand = [&](Value value) {
    return cast(nameOf(value), elementOf(value), type);
  };
  auto finish = [&](const std::string &name) {
    values[router.getLogits()] = name;
    prefix.clear();
    return success();
  };
  if (router.getKind() == RouterKind::Given)
    return finish(operand(router.getInput()));
  if (router.getKind() == RouterKind::Table) {
    // Gates give ids of 64 bits here, and so does a table.
    std::string ids = emit("Gather", {nameOf(router.getWeight()), input});
    int64_t slots = llvm::cast<RankedTensorType>(router.getLogits().getType())
                        .getDimSize(1);
    ids = emit("Reshape", {ids, ints({-1, slots})});
    return finish(
        cast(ids, elementOf(router.getWeight()), builder.getI64Type()));
  }
  input = operand(router.getInput());
  if (router.getKind() == RouterKind::LinearTanhLinear)
    input = emit("Tanh", {emit("Gemm", {input, operand(router.getHidden())},
                               attribute("transB", 1))});
  SmallVector<std::string> inputs = {input, operand(router.getWeight())};
  if (router.getBias())
    inputs.push_back(operand(router.getBias()));
  std::string logits = router.getTransposed()
                           ? emit("Gemm", inputs)
                           : emit("Gemm", inputs, attribute("transB", 1));
  if (router.getResidual())
    logits = emit("Add", {logits, emit("Gemm",
                                       {operand(router.getResidual()),
                                        operand(router.getResidualWeight())},
                                       attribute("transB", 1))});
  return finish(logits);
}

/// Whether two rows of a router's weights (and biases) are the same bytes: each
/// token is a tie then.
bool Exporter::scoresTwins(Value logits) {
  auto router = logits.getDefiningOp<RouterOp>();
  if (!router || router.getKind() != RouterKind::Linear || !router.getWeight())
    return false;
  // The bytes of a stored weight or constant; empty where it is neither.
  auto bytesOf = [&](Value value) -> std::string {
    if (!value)
      return {};
    if (auto constantOp = value.getDefiningOp<ConstantOp>()) {
      auto dense = dyn_cast<DenseElementsAttr>(constantOp.getValue());
      return dense ? rawBytes(dense) : std::string();
    }
    auto weight = value.getDefiningOp<WeightOp>();
    auto bank = weight ? symbols.lookup<BankOp>(weight.getBank()) : BankOp();
    auto bytes = bank ? options.bytes(bank) : FailureOr<StringRef>();
    if (failed(bytes))
      return {};
    std::string copy = bytes->str();
    options.release(*bytes);
    return copy;
  };
  auto type = llvm::cast<RankedTensorType>(router.getWeight().getType());
  std::string bytes = bytesOf(router.getWeight());
  std::string bias = bytesOf(router.getBias());
  int64_t experts = type.getDimSize(router.getTransposed() ? 1 : 0);
  int64_t features = type.getDimSize(router.getTransposed() ? 0 : 1);
  size_t size = type.getElementTypeBitWidth() / 8;
  if (bytes.size() != size * experts * features ||
      (router.getBias() && bias.empty()))
    return false;
  llvm::StringSet<> rows;
  for (int64_t e = 0; e < experts; ++e) {
    std::string row;
    for (int64_t k = 0; k < features; ++k)
      row += bytes.substr(
          size * (router.getTransposed() ? k * experts + e : e * features + k),
          size);
    size_t each = bias.size() / experts;
    row += bias.substr(e * each, each);
    if (!rows.insert(row).second)
      return true;
  }
  return false;
}
