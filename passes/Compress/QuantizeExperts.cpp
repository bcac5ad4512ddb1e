#include "mlir/IR/Remarks.h"
#include "passes/Analysis/Recipe.h"
#include "passes/Compress/Inputs.h"
#include "passes/Compress/Matrices.h"
#include "passes/Compress/Order.h"
#include "passes/Compress/Passes.h"
#include "passes/Compress/Scores.h"
#include <numeric>

namespace moe {
#define GEN_PASS_DEF_QUANTIZEEXPERTSPASS
#include "passes/Compress/Passes.h.inc"
} // namespace moe

using namespace mlir;
using namespace moe;

namespace {
/// How a type stores a matrix.
struct Storage {
  StringRef name;
  int64_t bits = 0;
  StringRef code = "int"; ///< empty: plain numbers of `plain`
  FloatType plain;

  /// Bytes of a number with its part of the scale.
  double bytes(int64_t block, bool asymmetric) const {
    if (plain)
      return 2;
    double own = static_cast<double>(bits) / 8;
    double scale = code == "fp4" ? 1 : 2;
    return block ? own + (scale + asymmetric) / static_cast<double>(block)
                 : own;
  }
};

struct QuantizeExpertsPass
    : moe::impl::QuantizeExpertsPassBase<QuantizeExpertsPass> {
  using QuantizeExpertsPassBase::QuantizeExpertsPassBase;

  void runOnOperation() override {
    if (failed(run()))
      signalPassFailure();
  }

  InFlightDiagnostic wrong() {
    return emitError(getOperation().getLoc(), "quantize: ");
  }

  std::optional<Storage> storageOf(StringRef name) {
    MLIRContext *context = &getContext();
    if (name == "int8" || name == "int4")
      return Storage{name, name == "int8" ? 8 : 4, "int", {}};
    if (name == "mxfp4")
      return Storage{name, 4, "fp4", {}};
    if (name == "nf4")
      return Storage{name, 4, "nf4", {}};
    if (name == "fp8")
      return Storage{name, 8, "fp8", {}};
    if (name == "bf16")
      return Storage{name, 16, "", BFloat16Type::get(context)};
    if (name == "f16")
      return Storage{name, 16, "", Float16Type::get(context)};
    return std::nullopt;
  }

  LogicalResult check(const Storage &storage) {
    if (block != 0 && block != 32 && block != 64 && block != 128)
      return wrong() << "block is 32, 64, 128, or 0 for a row, not "
                     << block.getValue();
    if (storage.code == "fp4" && block != 32)
      return wrong() << "mxfp4 has blocks of 32 inputs, not "
                     << block.getValue()
                     << " (OCP Microscaling Formats 1.0, section 5.2)";
    if (asymmetric && storage.code != "int")
      return wrong() << "only int8 and int4 are asymmetric, not "
                     << storage.name;
    return success();
  }

  LogicalResult run() {
    ModuleOp module = getOperation();
    auto first = storageOf(type), second = storageOf(mixed);
    StringRef known = "int8, int4, mxfp4, nf4, fp8, bf16 or f16";
    if (!first || (!mixed.empty() && !second))
      return wrong() << (first ? "mixed" : "type") << " is " << known
                     << ", not '" << (first ? mixed : type) << "'";
    if (mode != "round" && mode != "aware")
      return wrong() << "mode is round or aware, not '" << mode << "'";
    if (second && !(bytes > 0))
      return wrong() << "mixed needs bytes, the share of the f32 bytes that "
                        "experts may take";
    if (rows < 1)
      return wrong() << "rows is 1 or more, not " << rows.getValue();
    if (failed(check(*first)) || (second && failed(check(*second))))
      return failure();
    auto found = beginStep(module, "quantize", Stage::Quantize, *layers);
    if (failed(found))
      return failure();
    CompressInputs &inputs = CompressInputs::of(&getContext());
    bool aware = mode == "aware";
    if (aware && (!inputs.profile || !inputs.weights))
      return wrong() << "mode=aware needs a profile (--profile=FILE)";
    SymbolTable symbols(module);
    rights.clear();
    for (MoELayer &layer : *found) {
      std::vector<bool> important;
      if (second &&
          failed(chooseImportant(layer, *first, *second, inputs, important)))
        return failure();
      auto moments = LayerMoments::of(layer, inputs, rows, aware);
      if (failed(moments))
        return failure();
      auto entries = layer.pool.getEntries();
      for (auto [e, entry] : llvm::enumerate(entries)) {
        auto expert = dyn_cast<ExpertOp>(entry.getOperation());
        if (!expert)
          continue;
        auto slices =
            moments->addBanks(static_cast<int64_t>(e), expert, symbols);
        if (failed(slices))
          return failure();
        bool less = second && !important[e];
        for (StringRef name : matrixNames(expert))
          if (failed(store(layer, expert, name, less ? *second : *first,
                           slices->of(name), symbols)))
            return failure();
      }
      remark::passed(
          layer.apply->getLoc(),
          remark::RemarkOpts::name("quantize").category("moe-compress"))
          << ("stores the experts of " + layer.name + " as " + type);
    }
    eraseUnusedBanks(module);
    return success();
  }

  /// Which entries keep the first type, so that the layer's bytes fit.
  LogicalResult chooseImportant(MoELayer &layer, const Storage &first,
                                const Storage &second, CompressInputs &inputs,
                                std::vector<bool> &important) {
    auto scores =
        scoreExperts(layer, score, inputs.profile, *inputs.weights, rows);
    if (!scores)
      return wrong() << "score is frequency, probability, saliency or "
                        "magnitude, not '"
                     << score << "'";
    if (failed(*scores))
      return failure();
    double many = first.bytes(block, asymmetric) / 4;
    double few = second.bytes(block, asymmetric) / 4;
    if (bytes < few)
      return wrong() << "bytes=" << bytes << " is less than " << second.name
                     << " takes, which is " << few;
    auto entries = layer.pool.getEntries();
    int64_t experts = llvm::count_if(entries, [](ExpertOpInterface entry) {
      return isa<ExpertOp>(entry.getOperation());
    });
    int64_t count =
        many <= few
            ? experts
            : std::min<int64_t>(experts, static_cast<int64_t>(
                                             (bytes - few) / (many - few) *
                                                 static_cast<double>(experts) +
                                             1e-9));
    std::vector<int64_t> order(entries.size());
    std::iota(order.begin(), order.end(), 0);
    llvm::sort(order, [&](int64_t a, int64_t b) {
      return std::make_pair(-(**scores)[a], a) <
             std::make_pair(-(**scores)[b], b);
    });
    important.assign(entries.size(), false);
    for (int64_t e : order)
      if (count > 0 && isa<ExpertOp>(entries[e].getOperation()))
        important[e] = true, --count;
    return success();
  }

  /// Quantises a matrix, or both of its factors.
  LogicalResult store(MoELayer &layer, ExpertOp expert, StringRef name,
                      const Storage &storage, SliceAttr moments,
                      SymbolTable &symbols) {
    auto factored = expert->getAttrOfType<FactoredAttr>(name);
    if (!factored) {
      auto made = storeSlice(layer, expert, name,
                             expert->getAttrOfType<SliceAttr>(name), storage,
                             moments, symbols);
      if (succeeded(made))
        expert->setAttr(name, *made);
      return made;
    }
    if (!factored.getLeft() || factored.getBase() || factored.getRows())
      return emitLayerError(layer)
             << "expert '" << expert.getEntryName() << "': matrix '" << name
             << "' is more than two factors, which are not quantised";
    auto left = storeSlice(layer, expert, (name + ".left").str(),
                           factored.getLeft(), storage, {}, symbols);
    if (failed(left))
      return failure();
    // Gate and up may share what reads the inputs.
    SliceAttr &right = rights[factored.getRight()];
    if (!right) {
      auto made = storeSlice(layer, expert, (name + ".right").str(),
                             factored.getRight(), storage, moments, symbols);
      if (failed(made))
        return failure();
      right = *made;
    }
    expert->setAttr(name, FactoredAttr::get(&getContext(), SliceAttr(), *left,
                                            right, factored.getScale(),
                                            SliceAttr(), SliceAttr()));
    return success();
  }

  /// A slice as storage of its own.
  FailureOr<SliceAttr> storeSlice(MoELayer &layer, ExpertOp expert,
                                  StringRef name, SliceAttr slice,
                                  const Storage &storage, SliceAttr moments,
                                  SymbolTable &symbols) {
    if (slice.getQuant())
      return emitLayerError(layer)
             << "expert '" << expert.getEntryName() << "' is quantised already";
    auto shape = shapeOf(expert, slice, symbols);
    if (failed(shape))
      return failure();
    int64_t rowCount = shape->front(), columns = shape->back();
    std::string prefix =
        (layer.pool.getSymName() + "." + expert.getEntryName() + "." + name +
         "." + storage.name)
            .str();
    Builder builder(&getContext());
    if (storage.plain) {
      auto recipe = MixAttr::get(&getContext(), builder.getArrayAttr(slice),
                                 builder.getF64ArrayAttr(1.0));
      return wholeOf(
          addBank(layer, symbols, prefix, recipe,
                  RankedTensorType::get({rowCount, columns}, storage.plain)));
    }
    int64_t each = 8 / storage.bits;
    if (columns % each != 0 || (block != 0 && columns % block != 0)) {
      int64_t own = block ? block.getValue() : each;
      InFlightDiagnostic error = emitLayerError(layer)
                                 << "expert '" << expert.getEntryName()
                                 << "': matrix '" << name << "' has " << columns
                                 << " inputs, which blocks of " << own
                                 << " do not divide";
      if (name.ends_with(".left"))
        error << " (factorize-experts{multiple=" << own
              << "} makes ranks that they do)";
      return error;
    }
    auto code = storage.code == "int" ? StringAttr()
                                      : builder.getStringAttr(storage.code);
    auto recipe = [&](StringRef part) {
      return QuantizeAttr::get(&getContext(), slice, storage.bits, block,
                               builder.getStringAttr(part), code, asymmetric,
                               moments);
    };
    Type unsigned8 = builder.getIntegerType(8, /*isSigned=*/false);
    auto perBlock = [&](Type element) {
      SmallVector<int64_t> sizes{rowCount};
      if (block)
        sizes.push_back(columns / block);
      return RankedTensorType::get(sizes, element);
    };
    BankOp values =
        addBank(layer, symbols, prefix, recipe("values"),
                RankedTensorType::get({rowCount, columns / each},
                                      storage.code == "fp8"
                                          ? builder.getType<Float8E4M3FNType>()
                                          : unsigned8));
    BankOp scales =
        addBank(layer, symbols, prefix + ".scales", recipe("scales"),
                perBlock(storage.code == "fp4"
                             ? Type(builder.getType<Float8E8M0FNUType>())
                             : builder.getF16Type()));
    SliceAttr zeros;
    if (asymmetric)
      zeros = wholeOf(addBank(layer, symbols, prefix + ".zeros",
                              recipe("zeros"), perBlock(unsigned8)));
    auto quant =
        QuantAttr::get(&getContext(), storage.bits, block, wholeOf(scales),
                       zeros, storage.code == "fp8" ? "int" : storage.code);
    return SliceAttr::get(&getContext(),
                          FlatSymbolRefAttr::get(values.getSymNameAttr()), {},
                          false, quant);
  }

  /// Right factors that have been quantised.
  llvm::DenseMap<SliceAttr, SliceAttr> rights;
};
} // namespace
