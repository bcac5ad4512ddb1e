#include "frontends/HuggingFace/Importer.h"

#include "dialects/MoE/MoEOps.h"
#include "frontends/HuggingFace/ModelConfig.h"
#include "frontends/HuggingFace/Record.h"
#include "frontends/HuggingFace/TensorTypes.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/Builders.h"
#include "runtime/Core/Text.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/ADT/StringSet.h"
#include <cstring>

using namespace mlir;
using namespace moe;
using namespace moe::hf;

namespace {
/// A tensor of the checkpoint, and whether something reads it.
struct Tensor {
  const rt::CheckpointFile *file;
  const rt::ArchiveTensor *entry;
  bool used = false;
};

/// A matrix of an expert: its name without suffix, and its sizes.
struct Matrix {
  std::string name;
  int64_t out, in;
};

class Importer {
public:
  Importer(MLIRContext &context, const rt::Checkpoint &checkpoint)
      : builder(&context), checkpoint(checkpoint),
        loc(FileLineColLoc::get(&context, checkpoint.configPath(), 0, 0)) {}

  FailureOr<ImportedCheckpoint> run();

private:
  InFlightDiagnostic error() { return emitError(loc); }
  InFlightDiagnostic errorIn(const Tensor &tensor) {
    return emitError(FileLineColLoc::get(builder.getContext(),
                                         tensor.file->path, 0, 0))
           << "tensor '" << rt::printable(tensor.entry->name) << "' ";
  }
  LogicalResult readConfig();
  LogicalResult importLayer(int64_t index);
  LogicalResult importRest();
  LogicalResult importEntry(PoolOp pool, const std::string &block,
                            int64_t column, const EntryRecord &entry);
  FailureOr<Attribute> importMatrix(const Matrix &matrix,
                                    const Storage *storage);
  FailureOr<Attribute> importQuantised(const Matrix &matrix,
                                       const Storage &storage);
  FailureOr<Attribute> importFactored(const Matrix &matrix,
                                      const Storage &storage);

  LogicalResult checkRows(const Matrix &matrix);

  FailureOr<Tensor *> find(const std::string &name, StringRef need);
  /// The bank of a tensor of plain floats of that shape.
  FailureOr<BankOp> floats(const std::string &name, ArrayRef<int64_t> shape);
  /// The bank of a tensor whose bytes are those of `type`.
  FailureOr<BankOp> bytes(const std::string &name, RankedTensorType type);
  BankOp addBank(Tensor &tensor, RankedTensorType type);
  SliceAttr whole(BankOp bank) {
    return SliceAttr::get(FlatSymbolRefAttr::get(bank.getSymNameAttr()));
  }
  /// A name that no tensor has, read already or not.
  std::string freeName(std::string name) {
    while (symbols->lookup(name) || tensors.contains(name))
      name += "_";
    return name;
  }

  OpBuilder builder;
  const rt::Checkpoint &checkpoint;
  Location loc;
  ModelConfig config;
  Record record;
  llvm::StringMap<Tensor> tensors;
  OwningOpRef<ModuleOp> module;
  std::optional<SymbolTable> symbols;
};
} // namespace

static std::string shapeText(ArrayRef<int64_t> shape) {
  return "[" +
         llvm::join(llvm::map_range(
                        shape, [](int64_t n) { return std::to_string(n); }),
                    ", ") +
         "]";
}

static ArrayRef<int64_t> shapeOf(const Tensor &tensor) {
  return tensor.entry->shape;
}

FailureOr<Tensor *> Importer::find(const std::string &name, StringRef need) {
  auto found = tensors.find(name);
  if (found != tensors.end()) {
    found->second.used = true;
    return &found->second;
  }
  return emitError(FileLineColLoc::get(builder.getContext(),
                                       checkpoint.files[0].path, 0, 0))
         << (checkpoint.isIndexed ? "and the other files hold" : "holds")
         << " no tensor '" << rt::printable(name) << "'; model_type '"
         << config.family->type << "' needs it" << need;
}

BankOp Importer::addBank(Tensor &tensor, RankedTensorType type) {
  const std::string &name = tensor.entry->name;
  if (auto known = symbols->lookup<BankOp>(name))
    return known;
  OperationState state(loc, BankOp::getOperationName());
  BankOp::build(
      builder, state, builder.getStringAttr(name),
      builder.getStringAttr(tensor.file->name), StringAttr(),
      builder.getI64IntegerAttr(static_cast<int64_t>(tensor.entry->offset)),
      builder.getI64IntegerAttr(static_cast<int64_t>(tensor.entry->size)),
      Attribute(), TypeAttr::get(type));
  auto bank = cast<BankOp>(Operation::create(state));
  if (tensor.entry->dtype == "BOOL")
    bank->setAttr("moe.dtype", builder.getStringAttr("BOOL"));
  symbols->insert(bank, builder.getInsertionPoint());
  return bank;
}

FailureOr<BankOp> Importer::floats(const std::string &name,
                                   ArrayRef<int64_t> shape) {
  auto found = find(name, " of shape " + shapeText(shape));
  if (failed(found))
    return failure();
  Tensor &tensor = **found;
  if (shapeOf(tensor) != shape)
    return errorIn(tensor) << "has the shape " << shapeText(shapeOf(tensor))
                           << ", which by config.json should be "
                           << shapeText(shape);
  StringRef dtype = tensor.entry->dtype;
  if (dtype != "BF16" && dtype != "F16" && dtype != "F32" && dtype != "F64")
    return errorIn(tensor) << "is of type " << dtype
                           << "; weights are BF16, F16, F32 or F64 where "
                              "config.json says nothing else";
  return addBank(tensor, RankedTensorType::get(
                             shape, elementOf(dtype, builder.getContext())));
}

FailureOr<BankOp> Importer::bytes(const std::string &name,
                                  RankedTensorType type) {
  auto found = find(name, "");
  if (failed(found))
    return failure();
  uint64_t bits = type.getElementTypeBitWidth();
  bool fits = true;
  for (int64_t n : type.getShape())
    fits &= !__builtin_mul_overflow(bits, static_cast<uint64_t>(n), &bits);
  uint64_t size = bits / 8 + (bits % 8 != 0);
  if (!fits || (*found)->entry->size != size)
    return errorIn(**found) << "has " << (*found)->entry->size
                            << " bytes, but by config.json it holds "
                            << (fits ? Twine(size) : Twine("more than 2^61"));
  return addBank(**found, type);
}

FailureOr<Attribute> Importer::importQuantised(const Matrix &matrix,
                                               const Storage &storage) {
  MLIRContext *context = builder.getContext();
  Type unsigned8 = builder.getIntegerType(8, /*isSigned=*/false);
  int64_t each = 8 / storage.bits, block = storage.block;
  if (matrix.in % each != 0 || (block && matrix.in % block != 0))
    return error() << "'" << kRecord << "': matrix '"
                   << rt::printable(matrix.name) << "' has " << matrix.in
                   << " inputs, which storage " << storage.name()
                   << " does not divide";
  auto values = bytes(
      (matrix.name + (storage.isFloat ? kWeight : kPacked)).str(),
      RankedTensorType::get(
          {matrix.out, matrix.in / each},
          storage.isFloat ? builder.getType<Float8E4M3FNType>() : unsigned8));
  if (failed(values))
    return failure();
  llvm::SmallVector<int64_t> perBlock{matrix.out};
  if (block)
    perBlock.push_back(matrix.in / block);
  auto found = find((matrix.name + kScale).str(), " for its scales");
  if (failed(found))
    return failure();
  Type element = elementOf((*found)->entry->dtype, context);
  if (storage.code == "fp4")
    element = builder.getType<Float8E8M0FNUType>();
  else if (!element.isF16() && !element.isBF16() && !element.isF32())
    return errorIn(**found) << "is of type " << (*found)->entry->dtype
                            << "; scales are F16, BF16 or F32";
  auto scales =
      bytes((*found)->entry->name, RankedTensorType::get(perBlock, element));
  if (failed(scales))
    return failure();
  SliceAttr zeros;
  if (storage.hasZeros) {
    auto bank = bytes((matrix.name + kZeros).str(),
                      RankedTensorType::get(perBlock, unsigned8));
    if (failed(bank))
      return failure();
    zeros = whole(*bank);
  }
  // Of no use to us: the sizes follow from the rest.
  if (auto shape = tensors.find((matrix.name + kShape).str());
      shape != tensors.end())
    shape->second.used = true;
  auto quant = QuantAttr::get(context, storage.bits, block, whole(*scales),
                              zeros, storage.code);
  return Attribute(
      SliceAttr::get(context, FlatSymbolRefAttr::get(values->getSymNameAttr()),
                     {}, false, quant));
}

/// Rows that stand on their own must be rows of the matrix.
LogicalResult Importer::checkRows(const Matrix &matrix) {
  const Tensor &tensor = tensors.find((matrix.name + kRowIds).str())->second;
  std::string_view bytes =
      tensor.file->bytes.substr(tensor.entry->offset, tensor.entry->size);
  for (size_t at = 0; at < bytes.size(); at += sizeof(int32_t)) {
    int32_t row;
    std::memcpy(&row, bytes.data() + at, sizeof(row));
    if (row < 0 || row >= matrix.out)
      return errorIn(tensor) << "holds row " << row << " of a matrix of "
                             << matrix.out << " rows";
  }
  return success();
}

FailureOr<Attribute> Importer::importFactored(const Matrix &matrix,
                                              const Storage &storage) {
  SliceAttr base, left, right, rows, ids;
  auto take = [&](StringRef suffix, SliceAttr &to, int64_t out, int64_t in) {
    auto bank = floats((matrix.name + suffix).str(), {out, in});
    if (succeeded(bank))
      to = whole(*bank);
    return succeeded(bank);
  };
  /// A size that only the file knows.
  auto sizeOf = [&](StringRef suffix, size_t dim) -> int64_t {
    auto found = tensors.find((matrix.name + suffix).str());
    return found != tensors.end() && shapeOf(found->second).size() > dim
               ? shapeOf(found->second)[dim]
               : 0;
  };
  if (storage.hasBase && !take(kWeight, base, matrix.out, matrix.in))
    return failure();
  int64_t rank = sizeOf(kLeft, 1), count = sizeOf(kRowIds, 0);
  if (storage.hasFactors && (!take(kLeft, left, matrix.out, rank) ||
                             !take(kRight, right, rank, matrix.in)))
    return failure();
  if (storage.hasRows) {
    auto bank = bytes((matrix.name + kRowIds).str(),
                      RankedTensorType::get({count}, builder.getI32Type()));
    if (failed(bank) || !take(kRows, rows, count, matrix.in))
      return failure();
    if (failed(checkRows(matrix)))
      return failure();
    ids = whole(*bank);
  }
  return Attribute(FactoredAttr::get(
      builder.getContext(), base, left, right,
      storage.scale == 1 ? FloatAttr() : builder.getF64FloatAttr(storage.scale),
      rows, ids));
}

FailureOr<Attribute> Importer::importMatrix(const Matrix &matrix,
                                            const Storage *storage) {
  if (storage)
    return storage->isQuantised() ? importQuantised(matrix, *storage)
                                  : importFactored(matrix, *storage);
  auto bank = floats((matrix.name + kWeight).str(), {matrix.out, matrix.in});
  if (failed(bank))
    return failure();
  return Attribute(whole(*bank));
}

/// Adds the entry to the pool.
LogicalResult Importer::importEntry(PoolOp pool, const std::string &block,
                                    int64_t column, const EntryRecord &entry) {
  OpBuilder body = OpBuilder::atBlockEnd(&pool.getBody().front());
  if (!entry.null.empty()) {
    NullExpertOp::create(body, loc, entry.name,
                         entry.null == "zero" ? NullKind::Zero
                                              : NullKind::Copy);
    return success();
  }
  if (!entry.alias.empty()) {
    AliasOp::create(body, loc, entry.name, entry.alias);
    return success();
  }
  int64_t width = entry.width.value_or(config.inner);
  Attribute matrices[3];
  const char *names[] = {"gate", "up", "down"};
  for (auto [i, name] : llvm::enumerate(names)) {
    bool down = i == 2;
    Matrix matrix{config.matrix(block, column, name),
                  down ? config.hidden : width, down ? width : config.hidden};
    auto storage = entry.storage.find(name);
    auto made = importMatrix(
        matrix, storage == entry.storage.end() ? nullptr : &storage->second);
    if (failed(made))
      return failure();
    matrices[i] = *made;
  }
  auto expert = ExpertOp::create(body, loc, entry.name, ExpertKind::Glu,
                                 config.activation, matrices[0], matrices[1],
                                 matrices[2]);
  if (!entry.nOfM.empty())
    expert.setNOfM(ArrayRef<int64_t>(entry.nOfM));
  return success();
}

LogicalResult Importer::importLayer(int64_t index) {
  std::string block = config.block(index);
  LayerRecord layer;
  if (auto known = record.layers.find(index); known != record.layers.end())
    layer = known->second;
  int64_t columns = layer.entries.empty()
                        ? config.experts
                        : static_cast<int64_t>(layer.entries.size());
  int64_t topK = layer.topK.value_or(config.topK);
  auto inLayer = [&] { return error() << "layer '" << block << "' "; };
  if (topK > columns)
    return inLayer() << "chooses " << topK << " of " << columns << " experts";
  if (config.groups && columns % config.groups != 0)
    return inLayer() << "has " << columns << " experts, which n_group "
                     << config.groups << " does not divide";

  auto router = floats(config.router(block), {columns, config.hidden});
  if (failed(router))
    return failure();
  // As many as the router has, not as config.json claims.
  if (layer.entries.empty())
    for (int64_t e = 0; e < columns; ++e)
      layer.entries.push_back(
          EntryRecord{"e" + std::to_string(e), "", "", {}, {}, {}});
  FailureOr<BankOp> bias = failure();
  if (config.hasChoiceBias) {
    bias = floats(config.choiceBias(block), {columns});
    if (failed(bias))
      return failure();
  }
  std::string poolName = freeName("moe" + std::to_string(index));
  auto pool = PoolOp::create(builder, loc, poolName);
  if (pool.getBody().empty())
    pool.getBody().emplaceBlock();
  symbols->insert(pool);
  // Banks stand before the pool that reads them.
  OpBuilder::InsertPoint after = builder.saveInsertionPoint();
  builder.setInsertionPoint(pool);
  llvm::StringSet<> names;
  for (auto [column, entry] : llvm::enumerate(layer.entries)) {
    if (!names.insert(entry.name).second)
      return inLayer() << "has two entries '" << rt::printable(entry.name)
                       << "'";
    auto target = llvm::find_if(layer.entries, [&](const EntryRecord &other) {
      return other.name == entry.alias && other.alias.empty();
    });
    if (!entry.alias.empty() && target == layer.entries.end())
      return inLayer() << "lets '" << rt::printable(entry.alias)
                       << "' serve an entry, which is no expert";
    if (failed(importEntry(pool, block, static_cast<int64_t>(column), entry)))
      return failure();
  }
  builder.restoreInsertionPoint(after);

  auto tokens = RankedTensorType::get({ShapedType::kDynamic, config.hidden},
                                      builder.getF32Type());
  auto function = func::FuncOp::create(builder, loc, freeName(block),
                                       builder.getFunctionType(tokens, tokens));
  symbols->insert(function);
  OpBuilder code = OpBuilder::atBlockEnd(function.addEntryBlock());
  auto weight = [&](BankOp bank) -> Value {
    return WeightOp::create(code, loc, bank.getTensorType(),
                            FlatSymbolRefAttr::get(bank.getSymNameAttr()));
  };
  Value x = function.getArgument(0);
  Value logits =
      RouterOp::create(code, loc,
                       RankedTensorType::get({ShapedType::kDynamic, columns},
                                             builder.getF32Type()),
                       RouterKind::Linear, x, weight(*router));
  auto poolRef = FlatSymbolRefAttr::get(pool.getSymNameAttr());
  Norm norm = layer.norm == "real"      ? Norm::Real
              : layer.norm == "nonzero" ? Norm::Nonzero
                                        : config.norm;
  Value choice = config.hasChoiceBias ? weight(*bias) : Value();
  auto gate =
      GateOp::create(code, loc, config.score, logits, poolRef, topK, norm);
  if (choice)
    gate.getChoiceBiasMutable().assign(choice);
  if (config.groups) {
    gate.setGroups(config.groups);
    gate.setTopGroups(config.topGroups);
    gate.setGroupScore(config.groupScore);
  }
  if (norm != Norm::None)
    gate.setNormEpsilon(APFloat(config.normEpsilon));
  gate.setScale(APFloat(config.scale));
  if (layer.skipRatio)
    gate.setSkipRatio(APFloat(*layer.skipRatio));
  gate.setLayer(block);
  auto apply = ApplyOp::create(code, loc, tokens, poolRef, x, gate.getIds(),
                               gate.getWeights());
  apply.setLayer(block);
  apply->setAttr("moe.encoding", builder.getStringAttr("checkpoint"));
  func::ReturnOp::create(code, loc, apply.getResult(0));

  std::string experts = block + ".experts.";
  for (auto &[name, tensor] : tensors)
    if (!tensor.used && name.starts_with(experts))
      return errorIn(tensor) << "belongs to no expert: by config.json the "
                                "layer has "
                             << columns << ", stored as it says";
  return success();
}

LogicalResult Importer::importRest() {
  llvm::SmallVector<BankOp> banks;
  llvm::SmallVector<Type> types;
  for (const rt::CheckpointFile &file : checkpoint.files)
    for (const rt::ArchiveTensor &entry : file.header.tensors) {
      Tensor &tensor = tensors.find(entry.name)->second;
      if (tensor.used)
        continue;
      auto type = RankedTensorType::get(
          entry.shape, elementOf(entry.dtype, builder.getContext()));
      banks.push_back(addBank(tensor, type));
      types.push_back(type);
    }
  auto function = func::FuncOp::create(builder, loc, freeName("rest"),
                                       builder.getFunctionType({}, types));
  function->setAttr("moe.rest", builder.getUnitAttr());
  symbols->insert(function);
  OpBuilder code = OpBuilder::atBlockEnd(function.addEntryBlock());
  llvm::SmallVector<Value> values;
  for (BankOp bank : banks) {
    auto weight =
        WeightOp::create(code, loc, bank.getTensorType(),
                         FlatSymbolRefAttr::get(bank.getSymNameAttr()));
    // A token reads one row of it.
    if (bank.getSymName() == "model.embed_tokens.weight" &&
        !config.tiesEmbeddings)
      weight->setAttr("moe.looked_up", builder.getUnitAttr());
    values.push_back(weight);
  }
  func::ReturnOp::create(code, loc, values);
  return success();
}

LogicalResult Importer::readConfig() {
  if (!checkpoint.config)
    return error() << "is not there; what the weights in '"
                   << rt::printable(checkpoint.folder) << "' mean stands in it";
  auto read = readModelConfig(*checkpoint.config, checkpoint.tensorCount(),
                              [&] { return error(); });
  if (failed(read))
    return failure();
  config = std::move(*read);
  const rt::Json *own = checkpoint.config->find(kRecord.str());
  if (!own)
    return success();
  auto parsed = Record::parse(*own, [&] { return error(); });
  if (failed(parsed))
    return failure();
  record = std::move(*parsed);
  for (const auto &[index, layer] : record.layers)
    if (!llvm::binary_search(config.layers, index))
      return error() << "'" << kRecord << "' knows layer " << index
                     << ", which has no experts";
  return success();
}

FailureOr<ImportedCheckpoint> Importer::run() {
  builder.getContext()->loadDialect<MoEDialect, func::FuncDialect>();
  if (failed(readConfig()))
    return failure();
  for (const rt::CheckpointFile &file : checkpoint.files)
    for (const rt::ArchiveTensor &entry : file.header.tensors)
      if (!tensors.try_emplace(entry.name, Tensor{&file, &entry}).second)
        return error() << "tensor '" << rt::printable(entry.name)
                       << "' lies in two files";
  module = ModuleOp::create(loc);
  symbols.emplace(*module);
  builder.setInsertionPointToEnd(module->getBody());
  for (int64_t index : config.layers)
    if (failed(importLayer(index)))
      return failure();
  if (failed(importRest()))
    return failure();

  ImportedCheckpoint result;
  llvm::SmallVector<Attribute> archives, steps;
  for (const rt::CheckpointFile &file : checkpoint.files) {
    archives.push_back(builder.getDictionaryAttr(
        {builder.getNamedAttr("name", builder.getStringAttr(file.name)),
         builder.getNamedAttr("size",
                              builder.getI64IntegerAttr(
                                  static_cast<int64_t>(file.bytes.size())))}));
  }
  module->getOperation()->setAttr("moe.archives",
                                  builder.getArrayAttr(archives));
  for (const auto &[name, stage] : record.steps)
    steps.push_back(builder.getDictionaryAttr(
        {builder.getNamedAttr("name", builder.getStringAttr(name)),
         builder.getNamedAttr("stage", builder.getI64IntegerAttr(stage))}));
  if (!steps.empty())
    module->getOperation()->setAttr("moe.compressed",
                                    builder.getArrayAttr(steps));
  result.module = std::move(module);
  return result;
}

FailureOr<ImportedCheckpoint> moe::hf::importCheckpoint(StringRef path,
                                                        MLIRContext &context) {
  auto checkpoint = rt::openCheckpoint(path.str());
  if (!checkpoint)
    return emitError(FileLineColLoc::get(&context, path, 0, 0))
           << checkpoint.error().message;
  auto result = Importer(context, *checkpoint).run();
  if (succeeded(result))
    result->source = std::move(*checkpoint);
  return result;
}
