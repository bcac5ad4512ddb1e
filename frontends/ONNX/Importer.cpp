#include "frontends/ONNX/Importer.h"

#include "dialects/MoE/MoEOps.h"
#include "frontends/ONNX/ElementTypes.h"
#include "frontends/ONNX/ImporterImpl.h"
#include "frontends/ONNX/OpRegistry.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Path.h"

using namespace mlir;
using namespace moe::onnx;

LogicalResult Importer::importGraph(const pb::Graph &graph, Scope &scope) {
  if (graph.sparse_initializer_size())
    return error() << "has a sparse initializer '"
                   << graph.sparse_initializer(0).values().name()
                   << "'; sparse tensors are not supported";
  for (const pb::Tensor &tensor : graph.initializer()) {
    if (!scope.tensors.try_emplace(tensor.name(), &tensor).second)
      return error() << "has two initializers of the name '" << tensor.name()
                     << "'";
  }
  return importNodes(graph.node(), scope);
}

LogicalResult Importer::importSignature(const pb::Graph &graph, Scope &scope,
                                        func::FuncOp function) {
  Block *body = function.addEntryBlock();
  builder.setInsertionPointToEnd(body);
  for (const pb::ValueInfo &input : graph.input()) {
    // Inputs with a default are constants: see the README.
    if (llvm::any_of(graph.initializer(), [&](const pb::Tensor &tensor) {
          return tensor.name() == input.name();
        }))
      continue;
    SmallVector<Attribute> symbols;
    auto type = importType(input, &symbols);
    if (failed(type))
      return failure();
    unsigned index = function.getNumArguments();
    if (failed(function.insertArgument(
            index, *type,
            builder.getDictionaryAttr(
                {builder.getNamedAttr("moe.name",
                                      builder.getStringAttr(input.name())),
                 builder.getNamedAttr("moe.dims",
                                      builder.getArrayAttr(symbols))}),
            function.getLoc())))
      return failure();
    if (!scope.values.try_emplace(input.name(), function.getArgument(index))
             .second)
      return error() << "has two inputs of the name '" << input.name() << "'";
  }
  return success();
}

LogicalResult Importer::importArchives(ImportedModel &result) {
  SmallVector<Attribute> list;
  auto add = [&](StringRef name, uint64_t size, StringRef where) {
    list.push_back(builder.getDictionaryAttr(
        {builder.getNamedAttr("name", builder.getStringAttr(name)),
         builder.getNamedAttr("size", builder.getI64IntegerAttr(size))}));
    result.archives[name] = where.str();
  };
  uint64_t size = 0;
  if (!llvm::sys::fs::file_size(path, size))
    add(archive, size, path);
  SmallVector<StringRef> locations(files.files().keys());
  llvm::sort(locations);
  for (StringRef location : locations) {
    const ExternalFiles::File &found = files.files().find(location)->second;
    add(location, found.size, found.path);
  }
  module->setAttr("moe.archives", builder.getArrayAttr(list));
  return success();
}

FailureOr<ImportedModel> Importer::run() {
  context.loadDialect<OnnxDialect, moe::MoEDialect, func::FuncDialect>();
  Opsets opsets;
  for (const pb::OperatorSet &set : model.opset_import()) {
    StringRef domain = plainDomain(set.domain());
    int64_t newest = domain.empty() ? kNewestOpset : INT64_MAX;
    if (set.version() < 1 || set.version() > newest ||
        (domain.empty() && set.version() < kOldestOpset))
      return error() << "imports opset " << set.version() << " of domain '"
                     << (domain.empty() ? "ai.onnx" : domain) << "'; versions "
                     << kOldestOpset << " to " << kNewestOpset << " are known";
    opsets[domain] = set.version();
  }
  Location loc = FileLineColLoc::get(&context, path, 0, 0);
  ImportedModel result;
  result.module = ModuleOp::create(loc);
  module = *result.module;
  builder.setInsertionPointToEnd(module.getBody());
  auto function = func::FuncOp::create(builder, loc, "main",
                                       builder.getFunctionType({}, {}));
  Scope scope;
  scope.opsets = &opsets;
  if (failed(importSignature(model.graph(), scope, function)))
    return failure();
  weights = OpBuilder::atBlockBegin(&function.front());
  // Weights go before everything else, in the order of their first use.
  Operation *marker = NoneOp::create(weights, loc, builder.getNoneType());
  weights.setInsertionPoint(marker);
  builder.setInsertionPointToEnd(&function.front());
  if (failed(importGraph(model.graph(), scope)))
    return failure();

  SmallVector<Value> results;
  SmallVector<Type> types;
  SmallVector<DictionaryAttr> resultAttributes;
  for (const pb::ValueInfo &output : model.graph().output()) {
    auto value = lookup(output.name(), scope, [&] {
      error() << "output '" << output.name() << "' is never produced";
    });
    if (failed(value))
      return failure();
    SmallVector<Attribute> symbols;
    auto declared = importType(output, &symbols);
    if (failed(declared))
      return failure();
    auto type = dyn_cast<TensorType>((*value).getType());
    if (!type ||
        type.getElementType() != cast<TensorType>(*declared).getElementType())
      return error() << "output '" << output.name() << "' is declared as "
                     << nameOfElement(
                            cast<TensorType>(*declared).getElementType())
                     << ", but is "
                     << (type ? nameOfElement(type.getElementType())
                              : "absent");
    results.push_back(*value);
    types.push_back(type);
    resultAttributes.push_back(builder.getDictionaryAttr(
        {builder.getNamedAttr("moe.name", builder.getStringAttr(output.name())),
         builder.getNamedAttr("moe.dims", builder.getArrayAttr(symbols))}));
  }
  func::ReturnOp::create(builder, loc, results);
  marker->erase();
  function.setType(
      builder.getFunctionType(function.front().getArgumentTypes(), types));
  function.setAllResultAttrs(resultAttributes);

  SmallVector<NamedAttribute> imports;
  for (auto &set : opsets)
    imports.push_back(
        builder.getNamedAttr(set.first().empty() ? "ai.onnx" : set.first(),
                             builder.getI64IntegerAttr(set.second)));
  module->setAttr("onnx.opset", builder.getDictionaryAttr(imports));
  module->setAttr("onnx.producer", builder.getStringAttr(
                                       model.producer_name() +
                                       (model.producer_version().empty()
                                            ? ""
                                            : " " + model.producer_version())));
  if (failed(importArchives(result)))
    return failure();
  return result;
}

FailureOr<ImportedModel> moe::onnx::importBuffer(StringRef buffer,
                                                 StringRef path,
                                                 MLIRContext &context) {
  auto file = ModelFile::parse(buffer, [&] {
    return emitError(FileLineColLoc::get(&context, path, 0, 0));
  });
  if (!file)
    return failure();
  return Importer(*file, path, context).run();
}

FailureOr<ImportedModel> moe::onnx::importModel(StringRef path,
                                                MLIRContext &context) {
  auto fail = [&](const llvm::Twine &why) {
    return emitError(FileLineColLoc::get(&context, path, 0, 0)) << why;
  };
  llvm::sys::fs::file_status status;
  if (std::error_code error = llvm::sys::fs::status(path, status))
    return fail("cannot be read: " + error.message());
  if (status.type() == llvm::sys::fs::file_type::directory_file)
    return fail("is a directory, not an ONNX file");
  auto buffer = llvm::MemoryBuffer::getFile(path, /*IsText=*/false,
                                            /*RequiresNullTerminator=*/false);
  if (!buffer)
    return fail("cannot be read: " + buffer.getError().message());
  return importBuffer((*buffer)->getBuffer(), path, context);
}
