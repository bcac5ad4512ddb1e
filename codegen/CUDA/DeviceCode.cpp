#include "codegen/CUDA/DeviceCode.h"

#include "codegen/CUDA/Kernels.h"
#include "codegen/LLVM/RuntimeCalls.h"
#include "dialects/MoERT/MoERTOps.h"
#include "mlir/AsmParser/AsmParser.h"
#include "mlir/Bytecode/BytecodeWriter.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Parser/Parser.h"
#include "llvm/ADT/SmallSet.h"
#include "llvm/ADT/SmallString.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/Base64.h"
#include "llvm/Support/raw_ostream.h"

using namespace mlir;
using namespace moe;
using namespace moe::cuda;

static constexpr StringRef kPoolsLine = "// moe-opt pools: ";
/// Bytecode in base 64.
static constexpr StringRef kKernelsLine = "// moe-opt kernels: ";

/// Nothing where one of the attributes is no pool.
static std::optional<std::vector<Pool>> poolsOf(ArrayAttr list) {
  std::vector<Pool> pools;
  for (Attribute attribute : list) {
    std::optional<Pool> pool = fromAttribute(attribute);
    if (!pool)
      return std::nullopt;
    pools.push_back(*pool);
  }
  return pools;
}

KernelFacts moe::cuda::factsOf(moegpu::KernelOp kernel) {
  return {kernel.getSymName().str(), static_cast<uint32_t>(kernel.getThreads()),
          static_cast<uint32_t>(kernel.getShared())};
}

static void moveKernels(ModuleOp from, ModuleOp to) {
  to.getBody()->getOperations().splice(to.getBody()->end(),
                                       from.getBody()->getOperations());
}

/// What the module copies to a device when it is first used.
static std::vector<DeviceCode::Constant> constantsOf(ModuleOp module) {
  std::vector<DeviceCode::Constant> found;
  llvm::SmallSet<std::pair<StringRef, uint64_t>, 8> known;
  module.walk([&](moert::DeviceConstantOp op) {
    Operation *source = op.getMemory().getDefiningOp();
    auto bank = dyn_cast_or_null<moert::WeightRefOp>(source);
    auto global = dyn_cast_or_null<memref::GetGlobalOp>(source);
    auto type = cast<MemRefType>(op.getMemory().getType());
    if (!(bank || global) || !type.hasStaticShape())
      return;
    StringRef symbol = bank ? bank.getBank() : global.getName();
    uint64_t bytes = bytesOfElement(type) * type.getNumElements();
    if (known.insert({symbol, bytes}).second)
      found.push_back({symbol.str(), bytes, static_cast<bool>(bank), 0});
  });
  return found;
}

llvm::Expected<DeviceCode> moe::cuda::makeDeviceCode(ModuleOp module,
                                                     StringRef architecture) {
  DeviceCode code;
  code.architecture = architecture.str();
  auto list = module->getAttrOfType<ArrayAttr>(kDevicePools);
  std::optional<std::vector<Pool>> pools = poolsOf(list);
  if (!pools)
    return llvm::createStringError("malformed " + llvm::Twine(kDevicePools));
  code.pools = std::move(*pools);
  OwningOpRef<ModuleOp> kernels = poolKernels(module.getContext(), code.pools,
                                              architecture, code.poolKernels);
  std::string others;
  if (auto own = module.lookupSymbol<ModuleOp>(kDeviceModule)) {
    llvm::raw_string_ostream os(others);
    own->setAttr(SymbolTable::getSymbolAttrName(),
                 StringAttr::get(module.getContext(), "kernels"));
    // Where models were is nobody's business.
    auto nowhere = UnknownLoc::get(module.getContext());
    own->walk([&](Operation *op) {
      op->setLoc(nowhere);
      for (Region &region : op->getRegions())
        for (Block &block : region)
          for (BlockArgument argument : block.getArguments())
            argument.setLoc(nowhere);
    });
    if (mlir::failed(writeBytecodeToFile(own, os)))
      return llvm::createStringError("kernels cannot be written");
    moveKernels(own, *kernels);
    own.erase();
  }
  if (auto names = module->getAttrOfType<ArrayAttr>(kDeviceKernels))
    for (auto name : names.getAsRange<StringAttr>()) {
      auto kernel = kernels->lookupSymbol<moegpu::KernelOp>(name.getValue());
      if (!kernel)
        return llvm::createStringError("malformed " +
                                       llvm::Twine(kDeviceKernels));
      code.kernels.push_back(factsOf(kernel));
    }
  code.constants = constantsOf(module);
  if (auto names = module->getAttrOfType<ArrayAttr>(kDeviceLayerNames))
    for (auto name : names.getAsRange<StringAttr>())
      code.layerNames.push_back(name.str());
  auto ptx = emitPtx(*kernels, architecture);
  if (!ptx)
    return ptx.takeError();
  code.ptx = std::move(*ptx);
  llvm::raw_string_ostream os(code.ptx);
  // What a launch has to know, for those who have nothing but the text.
  for (const std::vector<KernelFacts> &pool : code.poolKernels)
    for (const KernelFacts &kernel : pool)
      if (!kernel.name.empty())
        os << "// moe-opt kernel: " << kernel.name << " " << kernel.threads
           << " " << kernel.sharedBytes << " " << kernel.mapRows << "\n";
  os << kPoolsLine << Attribute(list) << "\n";
  if (!others.empty())
    os << kKernelsLine << llvm::encodeBase64(others) << "\n";
  return code;
}

llvm::Error moe::cuda::placeLayers(ModuleOp module, DeviceCode &code) {
  SymbolTable symbols(module);
  auto layers = module->getAttrOfType<ArrayAttr>(kDeviceLayers);
  for (auto layer : layers.getAsRange<DictionaryAttr>()) {
    DeviceCode::Layer placed{};
    bool good = true;
    auto find = [&](const llvm::Twine &name) -> uint64_t {
      llvm::SmallString<16> buffer;
      Attribute given = layer.get(name.toStringRef(buffer));
      if (!given)
        return 0;
      auto bank = dyn_cast<FlatSymbolRefAttr>(given);
      Operation *op = bank ? symbols.lookup(bank.getAttr()) : nullptr;
      auto place =
          op ? op->getAttrOfType<IntegerAttr>("moe.place") : IntegerAttr();
      good &= static_cast<bool>(place);
      return place ? place.getInt() : 0;
    };
    auto matrix = [&](StringRef name) -> DeviceCode::Place {
      return {find(name), find(name + "_scales"), find(name + "_zeros"),
              find(name + "_bias")};
    };
    placed.up = matrix("up");
    placed.down = matrix("down");
    placed.upLow = matrix("up_low");
    placed.downLow = matrix("down_low");
    auto pool = layer.getAs<IntegerAttr>("pool");
    auto entries = layer.getAs<DenseI64ArrayAttr>("entries");
    good &= layer.contains("down");
    if (!good || !pool || !entries ||
        static_cast<uint64_t>(pool.getInt()) >= code.pools.size())
      return llvm::createStringError("malformed " + llvm::Twine(kDeviceLayers));
    placed.pool = pool.getInt();
    placed.entries.assign(entries.asArrayRef().begin(),
                          entries.asArrayRef().end());
    code.layers.push_back(std::move(placed));
  }
  code.layerNames.resize(code.layers.size());
  // Those that nothing reads any more have none.
  llvm::erase_if(code.constants, [&](DeviceCode::Constant &constant) {
    Operation *op = symbols.lookup(constant.symbol);
    auto place = op && constant.isWeight
                     ? op->getAttrOfType<IntegerAttr>("moe.place")
                     : IntegerAttr();
    constant.place = place ? place.getInt() : 0;
    return !op || (constant.isWeight && !place);
  });
  return llvm::Error::success();
}

/// The rest of the last line of `text` that begins with `prefix`.
static std::optional<StringRef> lineOf(StringRef text, StringRef prefix) {
  size_t at = text.rfind(prefix);
  if (at == StringRef::npos)
    return std::nullopt;
  return text.drop_front(at + prefix.size()).split('\n').first;
}

/// What `.target` says: "sm_90a".
static StringRef targetOfPtx(StringRef ptx) {
  StringRef rest = ptx.split("\n.target ").second;
  return rest.take_until([](char c) { return !llvm::isAlnum(c) && c != '_'; });
}

OwningOpRef<ModuleOp> moe::cuda::kernelsOfPtx(MLIRContext *context,
                                              StringRef ptx) {
  std::optional<StringRef> line = lineOf(ptx, kPoolsLine);
  auto list = line ? dyn_cast_or_null<ArrayAttr>(parseAttribute(*line, context))
                   : ArrayAttr();
  std::optional<std::vector<Pool>> pools =
      list ? poolsOf(list) : std::optional<std::vector<Pool>>();
  if (!pools)
    return nullptr;
  std::vector<std::vector<KernelFacts>> facts;
  OwningOpRef<ModuleOp> kernels =
      poolKernels(context, *pools, targetOfPtx(ptx), facts);
  if (std::optional<StringRef> others = lineOf(ptx, kKernelsLine)) {
    std::vector<char> bytes;
    if (llvm::Error error = llvm::decodeBase64(*others, bytes)) {
      llvm::consumeError(std::move(error));
      return nullptr;
    }
    auto own = parseSourceString<ModuleOp>(
        StringRef(bytes.data(), bytes.size()), context);
    if (!own)
      return nullptr;
    moveKernels(*own, *kernels);
  }
  return kernels;
}
