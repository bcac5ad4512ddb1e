#ifndef MOE_FRONTENDS_ONNX_IMPORTERIMPL_H
#define MOE_FRONTENDS_ONNX_IMPORTERIMPL_H

#include "dialects/Onnx/OnnxOps.h"
#include "frontends/ONNX/ExternalData.h"
#include "frontends/ONNX/Importer.h"
#include "frontends/ONNX/ModelFile.h"
#include "frontends/ONNX/TypeInference.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/Builders.h"
#include "llvm/Support/Path.h"

namespace moe::onnx {
using namespace mlir;

/// The default domain has two spellings.
inline StringRef plainDomain(StringRef domain) {
  return domain == "ai.onnx" ? StringRef() : domain;
}

using Opsets = llvm::StringMap<int64_t>;
using AttributeMap = llvm::StringMap<const pb::Attribute *>;

/// Names of one graph or function body. A function sees nothing of its
/// caller; a subgraph sees all of the graph around it.
struct Scope {
  Scope *outer = nullptr;
  const Opsets *opsets = nullptr;
  /// Attributes of the function call being inlined, or null.
  const AttributeMap *arguments = nullptr;
  llvm::StringMap<Value> values;
  llvm::StringMap<const pb::Tensor *> tensors;
};

/// One import: `Importer.cpp` has the model, `ImportNodes.cpp` nodes and calls,
/// `ImportRegions.cpp` subgraphs, `ImportValues.cpp` tensors, types and
/// attributes.
class Importer {
public:
  Importer(const ModelFile &file, StringRef path, MLIRContext &context)
      : file(file), model(file.model), context(context), builder(&context),
        path(path), archive(llvm::sys::path::filename(path)),
        files(llvm::sys::path::parent_path(path).str()) {}

  FailureOr<ImportedModel> run();

private:
  InFlightDiagnostic error() {
    return emitError(FileLineColLoc::get(&context, path, 0, 0));
  }
  InFlightDiagnostic nodeError();

  LogicalResult importSignature(const pb::Graph &graph, Scope &scope,
                                func::FuncOp function);
  LogicalResult importGraph(const pb::Graph &graph, Scope &scope);
  LogicalResult
  importNodes(const google::protobuf::RepeatedPtrField<pb::Node> &nodes,
              Scope &scope);
  LogicalResult importNode(const pb::Node &node, Scope &scope);
  LogicalResult importCall(const pb::Node &node, const pb::Function &callee,
                           Scope &scope);
  /// Subgraphs of a node, and the types of its results where it has any.
  FailureOr<SmallVector<Type>> importRegions(const pb::Node &node, Scope &scope,
                                             OperationState &state,
                                             const NodeFacts &facts);
  LogicalResult importBody(const pb::Graph &body, StringRef name, Scope &inner);
  FailureOr<SmallVector<Type>> importIf(const pb::Node &node, Scope &scope,
                                        OperationState &state);
  FailureOr<SmallVector<Type>> importLoop(const pb::Node &node, Scope &scope,
                                          OperationState &state,
                                          const NodeFacts &facts);
  LogicalResult checkLoop(const pb::Graph &body, const NodeFacts &facts);
  void clearBody(Region &body);
  LogicalResult define(StringRef name, Value value, Scope &scope);
  /// The value of `name`; where there is none, `missing` starts the message
  /// that the name then continues.
  FailureOr<Value> lookup(StringRef name, Scope &scope,
                          function_ref<void()> missing);
  FailureOr<Value> materialize(const pb::Tensor &tensor, bool mainGraph);
  void rememberIntegers(Value value, DenseElementsAttr constant);
  FailureOr<Attribute> importAttribute(const pb::Attribute &attribute);
  FailureOr<Type> importType(const pb::ValueInfo &value,
                             SmallVectorImpl<Attribute> *symbols);
  const pb::Function *findFunction(const pb::Node &node);
  LogicalResult importArchives(ImportedModel &result);

  const ModelFile &file;
  const pb::Model &model;
  MLIRContext &context;
  OpBuilder builder;
  StringRef path;
  std::string archive;
  ExternalFiles files;
  ModuleOp module;
  OpBuilder weights{static_cast<MLIRContext *>(nullptr)};
  llvm::StringMap<unsigned> bankNames;
  llvm::DenseMap<const pb::Tensor *, Value> materialized;
  llvm::DenseMap<Value, PartialInts> integers;
  SmallVector<const pb::Function *> calls;
  // For messages.
  const pb::Node *current = nullptr;
  int currentIndex = 0;
  int64_t currentOpset = 0;
};

} // namespace moe::onnx

#endif // MOE_FRONTENDS_ONNX_IMPORTERIMPL_H
