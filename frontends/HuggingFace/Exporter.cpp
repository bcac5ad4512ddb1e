#include "frontends/HuggingFace/Export.h"

#include "frontends/HuggingFace/JsonValues.h"
#include "frontends/HuggingFace/ModelConfig.h"
#include "frontends/HuggingFace/Record.h"
#include "frontends/HuggingFace/TensorTypes.h"
#include "frontends/HuggingFace/WriteFolder.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/ADT/StringSet.h"

using namespace mlir;
using namespace moe;
using namespace moe::hf;

namespace {
class Exporter {
public:
  Exporter(ModuleOp module, const rt::Checkpoint &source,
           const ExportOptions &options)
      : module(module), source(source), options(options), symbols(module),
        config(*source.config) {}

  LogicalResult run(StringRef folder);

private:
  LogicalResult planLayer(ApplyOp apply, int64_t index);
  LogicalResult checkGate(GateOp gate, StringRef block);
  LogicalResult checkExpert(ExpertOp expert, StringRef block);
  LogicalResult planEntry(ExpertOpInterface entry, StringRef block,
                          int64_t column, EntryRecord &record);
  LogicalResult planMatrix(ExpertOp expert, StringRef name,
                           const std::string &tensor, EntryRecord &record);
  LogicalResult planQuantised(ExpertOp expert, SliceAttr slice,
                              const std::string &tensor, Storage &storage);
  LogicalResult planFactored(ExpertOp expert, FactoredAttr matrix,
                             const std::string &tensor, Storage &storage);
  LogicalResult planRest(func::FuncOp rest);
  /// Plans what a slice holds, in the order of `[out, in]`.
  FailureOr<PlannedTensor *> plan(Operation *user, SliceAttr slice,
                                  const std::string &name);
  LogicalResult planValue(Operation *user, Value value,
                          const std::string &name);
  void changeConfig();
  void setNumber(StringRef key, int64_t before, int64_t now);
  void addRecord();

  InFlightDiagnostic refuse(Operation *op, StringRef block) {
    return emitError(op->getLoc()) << "layer '" << block << "': ";
  }
  InFlightDiagnostic refuse(ExpertOp expert) {
    return emitError(expert.getLoc())
           << "expert '" << expert.getEntryName() << "' of pool '"
           << expert->getParentOfType<PoolOp>().getSymName() << "': ";
  }

  ModuleOp module;
  const rt::Checkpoint &source;
  const ExportOptions &options;
  SymbolTable symbols;
  SymbolTableCollection tables;
  rt::Json config;
  ModelConfig model;
  Record record;
  std::vector<PlannedTensor> tensors;
  /// What readers of config.json's own keys would get wrong.
  llvm::StringSet<> beyond;
};
} // namespace

/// All of a bank, which may be empty, as slices cannot.
static SliceGeometry wholeOf(RankedTensorType type) {
  SliceGeometry geometry;
  geometry.shape.assign(type.getShape().begin(), type.getShape().end());
  geometry.strides.resize(geometry.shape.size());
  int64_t stride = 1;
  for (size_t d = geometry.shape.size(); d-- > 0; stride *= geometry.shape[d])
    geometry.strides[d] = stride;
  return geometry;
}

FailureOr<PlannedTensor *> Exporter::plan(Operation *user, SliceAttr slice,
                                          const std::string &name) {
  auto bank = symbols.lookup<BankOp>(slice.getBank().getValue());
  if (!bank)
    return user->emitOpError("reads ")
           << slice.getBank() << ", which is not a moe.bank";
  auto geometry = slice.getRanges().empty()
                      ? FailureOr<SliceGeometry>(wholeOf(bank.getTensorType()))
                      : slice.resolve(bank.getTensorType(),
                                      [&] { return user->emitOpError(); });
  if (failed(geometry))
    return failure();
  if (slice.getTransposed() && geometry->shape.size() == 2) {
    std::swap(geometry->shape[0], geometry->shape[1]);
    std::swap(geometry->strides[0], geometry->strides[1]);
  }
  Type element = bank.getTensorType().getElementType();
  StringRef dtype = dtypeOf(element);
  if (dtype.empty())
    return user->emitOpError("has weights of type ")
           << element << ", which safetensors do not have";
  PlannedTensor tensor;
  tensor.name = name;
  tensor.dtype = dtype.str();
  tensor.shape = geometry->shape;
  tensor.bank = bank;
  tensor.view = std::move(*geometry);
  tensors.push_back(std::move(tensor));
  return &tensors.back();
}

LogicalResult Exporter::planValue(Operation *user, Value value,
                                  const std::string &name) {
  auto weight = value.getDefiningOp<WeightOp>();
  if (!weight)
    return user->emitOpError("reads a tensor that is no weight, which cannot "
                             "be written as '")
           << name << "'";
  return plan(user, SliceAttr::get(weight.getBankAttr()), name);
}

LogicalResult Exporter::planQuantised(ExpertOp expert, SliceAttr slice,
                                      const std::string &tensor,
                                      Storage &storage) {
  auto quant = cast<QuantAttr>(slice.getQuant());
  auto bank = symbols.lookup<BankOp>(slice.getBank().getValue());
  Type element = bank ? bank.getTensorType().getElementType() : Type();
  storage.bits = quant.getBits();
  storage.block = quant.getBlock();
  storage.code = quant.getCode().str();
  storage.hasZeros = static_cast<bool>(quant.getZeros());
  storage.isFloat = isa_and_nonnull<Float8E4M3FNType>(element);
  bool isBytes = storage.isFloat || (element && element.isUnsignedInteger(8));
  if (!isBytes || slice.getTransposed() ||
      (storage.bits != 4 && storage.bits != 8))
    return refuse(expert) << "'" << tensor << "' is quantised to "
                          << storage.bits << " bits of " << element
                          << ", which cannot be written; known are unsigned "
                             "codes of 4 and 8 bits and f8E4M3FN, [out, in]";
  auto values =
      plan(expert, slice, tensor + (storage.isFloat ? kWeight : kPacked).str());
  if (failed(values))
    return failure();
  int64_t out = (*values)->shape[0], bytes = (*values)->shape[1];
  if (!storage.isFloat) {
    // As compressed-tensors packs them; bytes are the same either way.
    if (bytes % 4 == 0) {
      (*values)->dtype = "I32";
      (*values)->shape[1] = bytes / 4;
    }
    PlannedTensor shape;
    shape.name = tensor + kShape.str();
    shape.dtype = "I64";
    shape.shape = {2};
    int64_t sizes[2] = {out, bytes * 8 / storage.bits};
    shape.inlined.assign(reinterpret_cast<const char *>(sizes), sizeof(sizes));
    tensors.push_back(std::move(shape));
  }
  auto scales = plan(expert, quant.getScales(), tensor + kScale.str());
  if (failed(scales))
    return failure();
  if ((*scales)->dtype == "F8_E8M0") // readers know them as bytes
    (*scales)->dtype = "U8";
  if ((*scales)->shape.size() == 1)
    (*scales)->shape.push_back(1);
  if (!storage.hasZeros)
    return success();
  auto zeros = plan(expert, quant.getZeros(), tensor + kZeros.str());
  if (failed(zeros))
    return failure();
  if ((*zeros)->dtype != "U8")
    return refuse(expert) << "the zero points of '" << tensor
                          << "' are no unsigned bytes, which cannot be written";
  if ((*zeros)->shape.size() == 1)
    (*zeros)->shape.push_back(1);
  return success();
}

LogicalResult Exporter::planFactored(ExpertOp expert, FactoredAttr matrix,
                                     const std::string &tensor,
                                     Storage &storage) {
  struct Term {
    SliceAttr slice;
    StringRef suffix;
  };
  storage.hasBase = static_cast<bool>(matrix.getBase());
  storage.hasFactors = static_cast<bool>(matrix.getLeft());
  storage.hasRows = static_cast<bool>(matrix.getRows());
  if (matrix.getScale())
    storage.scale = matrix.getScale().getValueAsDouble();
  for (auto [slice, suffix] :
       {Term{matrix.getBase(), kWeight}, Term{matrix.getLeft(), kLeft},
        Term{matrix.getRight(), kRight}, Term{matrix.getRows(), kRows},
        Term{matrix.getRowIds(), kRowIds}}) {
    if (!slice)
      continue;
    if (slice.getQuant())
      return refuse(expert) << "'" << tensor
                            << "' is a sum with a quantised term, which cannot "
                               "be written";
    auto planned = plan(expert, slice, tensor + suffix.str());
    if (failed(planned))
      return failure();
    if (suffix == kRowIds && (*planned)->dtype != "I32")
      return refuse(expert) << "the numbers of rows of '" << tensor
                            << "' are not i32, which cannot be written";
  }
  return success();
}

LogicalResult Exporter::planMatrix(ExpertOp expert, StringRef name,
                                   const std::string &tensor,
                                   EntryRecord &entry) {
  Attribute matrix = expert->getAttr(name);
  Storage storage;
  if (auto factored = dyn_cast<FactoredAttr>(matrix)) {
    if (failed(planFactored(expert, factored, tensor, storage)))
      return failure();
    beyond.insert("factored matrices");
  } else if (auto slice = cast<SliceAttr>(matrix); slice.getQuant()) {
    if (failed(planQuantised(expert, slice, tensor, storage)))
      return failure();
    beyond.insert("quantised matrices");
  } else {
    return plan(expert, slice, tensor + kWeight.str());
  }
  entry.storage[name.str()] = storage;
  return success();
}

/// What config.json says of all experts must hold of this one.
LogicalResult Exporter::checkExpert(ExpertOp expert, StringRef block) {
  StringRef what;
  if (!expert.isGlu() || expert.getActivation() != model.activation)
    what = "another function than config.json says";
  else if (expert.getGateBias() || expert.getUpBias() || expert.getDownBias())
    what = "biases";
  else if (!expert.getAlpha().isExactlyValue(1) || !expert.getBeta().isZero() ||
           !expert.getLimit().isZero())
    what = "constants in its activation";
  else if (!expert.getOutputScale().isExactlyValue(1))
    what = "a scale of its output";
  else if (expert.getVariants())
    what = "several storages";
  if (what.empty())
    return success();
  return refuse(expert) << "has " << what << ", which cannot be written as a "
                        << model.family->type << " checkpoint";
}

LogicalResult Exporter::planEntry(ExpertOpInterface entry, StringRef block,
                                  int64_t column, EntryRecord &result) {
  Operation *op = entry.getOperation();
  result.name = op->getAttrOfType<StringAttr>("entry_name").str();
  if (auto alias = dyn_cast<AliasOp>(op)) {
    result.alias = alias.getTarget().str();
    beyond.insert("aliases");
    return success();
  }
  if (auto null = dyn_cast<NullExpertOp>(op)) {
    if (null.getKind() == NullKind::Constant)
      return refuse(op, block)
             << "null expert '" << result.name
             << "' is a constant, which cannot be written; zero and copy can";
    result.null = null.getKind() == NullKind::Zero ? "zero" : "copy";
    beyond.insert("null experts");
    return success();
  }
  auto expert = dyn_cast<ExpertOp>(op);
  if (!expert)
    return refuse(op, block) << "entry '" << result.name
                             << "' is a function, which cannot be written";
  if (failed(checkExpert(expert, block)))
    return failure();
  auto shape = expert.getShape(tables, [&] { return expert.emitOpError(); });
  if (failed(shape))
    return failure();
  if (shape->in != model.hidden || shape->out != model.hidden)
    return refuse(expert) << "has " << shape->in << " inputs and " << shape->out
                          << " outputs, where hidden_size is " << model.hidden;
  result.width = shape->hidden;
  if (auto pattern = expert.getNOfM())
    result.nOfM.assign(pattern->begin(), pattern->end());
  for (StringRef name : {"gate", "up", "down"})
    if (failed(planMatrix(expert, name, model.matrix(block, column, name),
                          result)))
      return failure();
  return success();
}

LogicalResult Exporter::checkGate(GateOp gate, StringRef block) {
  StringRef what;
  int64_t groups = gate.getGroups().value_or(0);
  if (gate.getScore() != model.score)
    what = "another score function than config.json says";
  else if (groups != model.groups ||
           static_cast<int64_t>(gate.getTopGroups().value_or(0)) !=
               model.topGroups)
    what = "other groups than config.json says";
  else if (gate.getScale().convertToDouble() != model.scale)
    what = "another scale than config.json says";
  else if (static_cast<bool>(gate.getChoiceBias()) != model.hasChoiceBias)
    what = "a bias of the choice that config.json does not know";
  else if (gate.getNorm() != model.norm && gate.getNorm() != Norm::Real &&
           gate.getNorm() != Norm::Nonzero)
    what = "another norm than config.json says";
  else if (gate.getDense() || gate.getSubset())
    what = "no choice among all experts";
  else if (gate.getSelectFirst() || gate.getSparseMixer() || gate.getValues())
    what = "another way to choose than config.json says";
  else if (gate.getK())
    what = "a number of experts that is known at run time only";
  else if (gate.getSkipCumulative())
    what = "skip_cumulative";
  else if (gate.getCapacity() || gate.getCapacityFactor())
    what = "a capacity";
  else if (gate.getTiesHigh())
    what = "ties that go to the higher expert";
  if (what.empty())
    return success();
  return refuse(gate, block)
         << "its gate has " << what << ", which cannot be written as a "
         << model.family->type << " checkpoint";
}

LogicalResult Exporter::planLayer(ApplyOp apply, int64_t index) {
  std::string block = model.block(index);
  auto gate = apply.getNumGates() == 1 && !apply.isDense()
                  ? apply.getIds()[0].getDefiningOp<GateOp>()
                  : GateOp();
  auto router = gate ? gate.getLogits().getDefiningOp<RouterOp>() : RouterOp();
  if (!router || router.getKind() != RouterKind::Linear || router.getSeed() ||
      router.getBias() || router.getResidual() || router.getStandardize() ||
      router.getTransposed())
    return refuse(apply, block)
           << "only a linear router without bias can be written";
  if (failed(checkGate(gate, block)))
    return failure();
  if (failed(planValue(router, router.getWeight(), model.router(block))))
    return failure();
  if (model.hasChoiceBias &&
      failed(planValue(gate, gate.getChoiceBias(), model.choiceBias(block))))
    return failure();
  LayerRecord &layer = record.layers[index];
  layer.topK = static_cast<int64_t>(*gate.getTopK());
  if (gate.getSkipRatio()) {
    layer.skipRatio = gate.getSkipRatio()->convertToDouble();
    beyond.insert("skip ratios");
  }
  if (gate.getNorm() != model.norm) {
    layer.norm = stringifyNorm(gate.getNorm()).str();
    beyond.insert("norms over real experts");
  }
  auto pool = symbols.lookup<PoolOp>(apply.getPool());
  for (auto [column, entry] : llvm::enumerate(pool.getEntries())) {
    layer.entries.emplace_back();
    if (failed(planEntry(entry, block, static_cast<int64_t>(column),
                         layer.entries.back())))
      return failure();
  }
  return success();
}

LogicalResult Exporter::planRest(func::FuncOp rest) {
  LogicalResult result = success();
  rest.walk([&](WeightOp weight) {
    auto bank = symbols.lookup<BankOp>(weight.getBank());
    auto planned = plan(weight, SliceAttr::get(weight.getBankAttr()),
                        weight.getBank().str());
    if (failed(planned)) {
      result = failure();
      return;
    }
    if (auto dtype = bank->getAttrOfType<StringAttr>("moe.dtype"))
      (*planned)->dtype = dtype.str();
  });
  return result;
}

/// Sets a number that config.json may hold under several names.
void Exporter::setNumber(StringRef key, int64_t before, int64_t now) {
  std::string old = std::to_string(before);
  for (StringRef other :
       {key, StringRef("num_experts"), StringRef("num_local_experts"),
        StringRef("n_routed_experts")}) {
    bool isCount = key == model.family->experts;
    if (other != key && !isCount)
      continue;
    const rt::Json *value = config.find({other.data(), other.size()});
    if (value && value->text == old)
      setMember(config, {other.data(), other.size()}, jsonNumber(now));
  }
}

/// Numbers that all layers share go where readers look for them; others stay
/// in the record.
void Exporter::changeConfig() {
  std::optional<int64_t> count, topK, width;
  bool sameCount = true, sameTopK = true, sameWidth = true;
  auto note = [](std::optional<int64_t> &known, bool &same, int64_t value) {
    same &= known.value_or(value) == value;
    known = value;
  };
  for (const auto &[index, layer] : record.layers) {
    note(count, sameCount, static_cast<int64_t>(layer.entries.size()));
    note(topK, sameTopK, *layer.topK);
    for (const EntryRecord &entry : layer.entries)
      if (entry.width)
        note(width, sameWidth, *entry.width);
  }
  if (sameCount)
    setNumber(model.family->experts, model.experts, *count);
  else
    beyond.insert("numbers of experts that differ");
  if (sameTopK)
    setNumber(kTopK, model.topK, *topK), model.topK = *topK;
  else
    beyond.insert("numbers of chosen experts that differ");
  // Readers take the width of shared experts from the same number.
  const rt::Json *shared = config.find("n_shared_experts");
  bool isShared = shared && shared->asUnsigned().value_or(0) > 0;
  if (width && sameWidth && isShared && *width != model.inner)
    beyond.insert("widths of experts that differ from shared ones");
  else if (width && sameWidth)
    setNumber(model.family->inner, model.inner, *width), model.inner = *width;
  else if (width)
    beyond.insert("widths of experts that differ");
  for (auto &[index, layer] : record.layers) {
    if (layer.topK == model.topK)
      layer.topK.reset();
    for (EntryRecord &entry : layer.entries)
      if (entry.width == model.inner)
        entry.width.reset();
  }
}

void Exporter::addRecord() {
  rt::Json own = jsonObject(), needs = jsonArray(), earlier = jsonArray();
  setMember(own, "version", jsonText("")); // comes first
  llvm::SmallVector<StringRef> words(beyond.keys());
  llvm::sort(words);
  for (StringRef word : words)
    needs.items.push_back(jsonText({word.data(), word.size()}));
  setMember(own, "beyond_config", std::move(needs));
  if (const rt::Json *before = config.find(kRecord.str())) {
    bool isNew = options.facts.find("compression");
    const rt::Json *ledger = before->find("compression");
    for (const char *key : {"compression", "front", "front_limits"})
      if (const rt::Json *value = isNew ? nullptr : before->find(key))
        setMember(own, key, *value);
    if (const rt::Json *list = before->find("earlier"))
      earlier = *list;
    if (isNew && ledger)
      earlier.items.push_back(*ledger);
  }
  for (const auto &[name, value] : options.facts.members)
    setMember(own, name, value);
  if (!earlier.items.empty())
    setMember(own, "earlier", std::move(earlier));
  record.addTo(own);
  setMember(config, kRecord.str(), std::move(own));
}

LogicalResult Exporter::run(StringRef folder) {
  auto read = readModelConfig(config, source.tensorCount(),
                              [&] { return emitError(module.getLoc()); });
  if (failed(read))
    return failure();
  model = std::move(*read);
  if (auto steps = module->getAttrOfType<ArrayAttr>("moe.compressed"))
    for (Attribute step : steps)
      if (auto entry = dyn_cast<DictionaryAttr>(step))
        record.steps.emplace_back(entry.getAs<StringAttr>("name").str(),
                                  entry.getAs<IntegerAttr>("stage").getInt());
  llvm::StringMap<ApplyOp> layers;
  module.walk(
      [&](ApplyOp apply) { layers[apply.getLayer().value_or("")] = apply; });
  for (int64_t index : model.layers) {
    auto found = layers.find(model.block(index));
    if (found == layers.end())
      return emitError(module.getLoc())
             << "layer '" << model.block(index)
             << "' is gone, which config.json cannot say of a layer";
    if (failed(planLayer(found->second, index)))
      return failure();
  }
  for (auto function : module.getOps<func::FuncOp>())
    if (function->hasAttr("moe.rest") && failed(planRest(function)))
      return failure();
  changeConfig();
  addRecord();
  if (failed(writeFolder(std::move(tensors), std::move(config), source, folder,
                         module.getLoc(), options)))
    return failure();
  llvm::SmallVector<StringRef> words(beyond.keys());
  llvm::sort(words);
  if (!words.empty() && options.note)
    options.note("'" + folder + "' has " + llvm::join(words, ", ") +
                 ": config.json says so under " + kRecord +
                 ", which moe-opt reads and other programs do not");
  return success();
}

LogicalResult moe::hf::exportCheckpoint(ModuleOp module,
                                        const rt::Checkpoint &source,
                                        StringRef folder,
                                        const ExportOptions &options) {
  return Exporter(module, source, options).run(folder);
}
