#ifndef MOE_FRONTENDS_ONNX_EXPORTERIMPL_H
#define MOE_FRONTENDS_ONNX_EXPORTERIMPL_H

#include "dialects/Onnx/OnnxOps.h"
#include "frontends/ONNX/Export.h"
#include "frontends/ONNX/ExportWeights.h"
#include "frontends/ONNX/onnx.pb.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/Builders.h"
#include "llvm/ADT/StringSet.h"
#include <map>

namespace moe::onnx {
using namespace mlir;

/// A matrix of an expert in the words of the file: what to multiply with.
struct MatrixNames {
  std::string weight;
  bool transposed = false; // stored [in, out]
};

/// One export: `Exporter.cpp` has the model, `ExportNodes.cpp` nodes, constants
/// and subgraphs, `ExportRouter.cpp` routers, `ExportFit.cpp` and
/// `ExportContrib.cpp` contrib operators,
/// `ExportGate.cpp` gates and `ExportExperts.cpp` experts in standard
/// operators, `ExportMatrices.cpp` their weights.
class Exporter {
public:
  Exporter(ModuleOp module, const ExportOptions &options)
      : module(module), options(options), symbols(module),
        builder(module.getContext()) {}

  LogicalResult run(StringRef path);

private:
  // Exporter.cpp
  LogicalResult readOpsets();
  LogicalResult chooseOpset(func::FuncOp main);
  LogicalResult exportSignature(func::FuncOp main);
  LogicalResult exportResults(func::FuncOp main);
  std::string unique(StringRef name);
  void describe(pb::ValueInfo &info, StringRef name, Type type,
                ArrayAttr dims = {});

  // ExportNodes.cpp
  LogicalResult exportBlock(Block &block);
  LogicalResult exportOp(Operation &op);
  LogicalResult exportNode(NodeOp node);
  LogicalResult exportWeight(WeightOp weight);
  LogicalResult exportBody(Region &body, StringRef attribute, pb::Node &to);
  LogicalResult exportAttribute(StringRef name, Attribute value, pb::Node &to,
                                Operation *op);
  std::string nameOf(Value value);

  // Writing nodes.
  SmallVector<std::string> emit(StringRef op, ArrayRef<std::string> inputs,
                                unsigned outputs,
                                ArrayRef<NamedAttribute> attributes,
                                StringRef domain = "");
  std::string emit(StringRef op, ArrayRef<std::string> inputs,
                   ArrayRef<NamedAttribute> attributes = {}) {
    return emit(op, inputs, 1, attributes)[0];
  }
  NamedAttribute attribute(StringRef name, int64_t value) {
    return builder.getNamedAttr(name, builder.getI64IntegerAttr(value));
  }
  std::string constant(DenseElementsAttr value, StringRef name = "constant");
  std::string ints(ArrayRef<int64_t> values) {
    return constant(builder.getI64TensorAttr(values));
  }
  std::string scalar(int64_t value) {
    return constant(DenseElementsAttr::get(
        RankedTensorType::get({}, builder.getI64Type()), value));
  }
  std::string scalar(double value, Type element) {
    return constant(DenseElementsAttr::get(
        RankedTensorType::get({}, element),
        Attribute(builder.getFloatAttr(element, value))));
  }
  std::string cast(const std::string &value, Type from, Type to);
  std::string reduce(StringRef op, const std::string &value, int64_t axis,
                     bool keep);

  std::string plan(PlannedWeight weight);

  // ExportRouter.cpp, ExportFit.cpp, ExportContrib.cpp
  LogicalResult exportRouter(RouterOp router);
  LogicalResult exportApply(ApplyOp apply);
  /// Why a layer is no contrib operator; null where it is one.
  const char *refuseContrib(ApplyOp apply);
  LogicalResult exportContrib(ApplyOp apply);
  bool isContrib(ApplyOp apply);
  bool scoresTwins(Value logits);
  FailureOr<std::string> stacked(ArrayRef<ExpertOp> experts, StringRef name,
                                 StringRef part, StringRef matrix,
                                 StringRef second = "");

  // ExportGate.cpp
  LogicalResult exportGate(GateOp gate);
  LogicalResult checkGate(GateOp gate);
  std::string score(GateOp gate, const std::string &logits);
  std::string normalise(GateOp gate, const std::string &weights,
                        const std::string &ids, Type type);
  std::string skip(GateOp gate, std::string weights, std::string &ids,
                   Type type);
  std::string chooseGroups(GateOp gate, const std::string &choice,
                           int64_t columns);
  void exportSparseMixer(GateOp gate, const std::string &logits, Type type,
                         std::string &ids, std::string &weights);
  std::string orOne(const std::string &sum, Type type);
  std::string whereNull(PoolOp pool, const std::string &ids, bool zeroOnly);

  // ExportExperts.cpp
  LogicalResult exportExperts(ApplyOp apply);
  FailureOr<std::string> exportExpert(ExpertOp expert, const std::string &rows,
                                      Type type);
  FailureOr<std::string> exportNull(NullExpertOp expert,
                                    const std::string &rows, Type type);
  FailureOr<std::string> exportLinear(ExpertOp expert, StringRef matrix,
                                      const std::string &rows, Type type);
  FailureOr<std::string> exportProduct(Operation *op, SliceAttr matrix,
                                       SliceAttr bias, StringRef name,
                                       const std::string &rows, Type type);
  FailureOr<std::string> exportFactored(ExpertOp expert, FactoredAttr matrix,
                                        SliceAttr bias, StringRef name,
                                        const std::string &rows, Type type);
  std::string activate(ExpertOp expert, std::string value, Type type);
  /// Rows times right factors: gate and up may share one. Names of rows are
  /// known in one graph only.
  std::map<std::pair<std::string, const void *>, std::string> rightProducts;

  // ExportMatrices.cpp
  SliceAttr storedQuant(SliceAttr slice);
  std::string cut(const std::string &whole, SliceAttr slice,
                  const BankView &view);
  FailureOr<std::string> exportVector(Operation *op, SliceAttr slice,
                                      StringRef name, Type type);
  FailureOr<MatrixNames> exportMatrix(Operation *op, SliceAttr slice,
                                      StringRef name, Type type);
  FailureOr<std::string> exportQuantised(Operation *op, SliceAttr slice,
                                         QuantAttr quant, StringRef name,
                                         Type type);
  FailureOr<std::string> exportBank(BankOp bank);

  // ExportCodes.cpp
  bool isCoded(SliceAttr slice, QuantAttr quant);
  std::string exportScales(const BankView &scales, StringRef name, Type type);
  FailureOr<std::string> exportCodes(Operation *op, SliceAttr slice,
                                     QuantAttr quant, StringRef name,
                                     Type type);

  std::string layerName(ApplyOp apply);

  ModuleOp module;
  const ExportOptions &options;
  SymbolTable symbols;
  SymbolTableCollection tables;
  Builder builder;
  pb::Model model;
  pb::Graph *graph = nullptr; // that nodes go to
  int64_t opset = 0;
  llvm::StringMap<int64_t> domains; // others than the default one
  llvm::StringSet<> names;
  std::string prefix; // of the names of nodes that stand for a layer
  llvm::DenseMap<Value, std::string> values;
  llvm::DenseMap<Attribute, std::string> constants;
  llvm::DenseMap<Operation *, std::string> banks;
  llvm::DenseSet<Operation *> turned; // banks stored the other way round
  llvm::DenseMap<Operation *, bool> contrib;
  llvm::StringMap<std::string> plannedNames;
  std::vector<PlannedWeight> planned;
};

/// Element type of a ranked tensor.
inline Type elementOf(Value value) {
  return llvm::cast<RankedTensorType>(value.getType()).getElementType();
}

/// Whether the weights of a token's experts add up to one.
inline bool isNormalised(GateOp gate) {
  return gate.getSelectFirst() || gate.getNorm() == Norm::Selected;
}

/// Bytes of a constant in ONNX's raw form.
std::string rawBytes(DenseElementsAttr value);

/// Whether an operator means the same in versions `from` and `to`.
bool sameMeaning(StringRef op, int64_t from, int64_t to);

} // namespace moe::onnx

#endif // MOE_FRONTENDS_ONNX_EXPORTERIMPL_H
