#include "codegen/CUDA/DeviceCode.h"

#include "codegen/CUDA/Kernels.h"
#include "mlir/AsmParser/AsmParser.h"
#include "llvm/Support/raw_ostream.h"

using namespace mlir;
using namespace moe;
using namespace moe::cuda;

static constexpr StringRef kPoolsLine = "// moe-opt pools: ";

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

llvm::Expected<DeviceCode> moe::cuda::makeDeviceCode(ModuleOp module,
                                                     StringRef architecture) {
  DeviceCode code;
  code.architecture = architecture.str();
  auto list = module->getAttrOfType<ArrayAttr>(kDevicePools);
  std::optional<std::vector<Pool>> pools = poolsOf(list);
  if (!pools)
    return llvm::createStringError("malformed " + llvm::Twine(kDevicePools));
  code.pools = std::move(*pools);
  OwningOpRef<ModuleOp> kernels =
      poolKernels(module.getContext(), code.pools, code.kernels);
  auto ptx = emitPtx(*kernels, architecture);
  if (!ptx)
    return ptx.takeError();
  code.ptx = std::move(*ptx);
  llvm::raw_string_ostream stream(code.ptx);
  // What a launch has to know, for those who have nothing but the text.
  for (const std::vector<KernelFacts> &pool : code.kernels)
    for (const KernelFacts &kernel : pool)
      stream << "// moe-opt kernel: " << kernel.name << " " << kernel.threads
             << " " << kernel.sharedBytes << "\n";
  stream << kPoolsLine << Attribute(list) << "\n";
  return code;
}

llvm::Error moe::cuda::placeLayers(ModuleOp module, DeviceCode &code) {
  SymbolTable symbols(module);
  auto layers = module->getAttrOfType<ArrayAttr>(kDeviceLayers);
  for (auto layer : layers.getAsRange<DictionaryAttr>()) {
    DeviceCode::Layer placed{};
    auto find = [&](StringRef name, uint64_t &to) {
      auto bank = layer.getAs<FlatSymbolRefAttr>(name);
      Operation *op = bank ? symbols.lookup(bank.getAttr()) : nullptr;
      auto place =
          op ? op->getAttrOfType<IntegerAttr>("moe.place") : IntegerAttr();
      to = place ? place.getInt() : 0;
      return static_cast<bool>(place);
    };
    auto pool = layer.getAs<IntegerAttr>("pool");
    auto entries = layer.getAs<DenseI64ArrayAttr>("entries");
    if (!find("up", placed.up) || !find("down", placed.down) || !pool ||
        !entries || static_cast<uint64_t>(pool.getInt()) >= code.pools.size())
      return llvm::createStringError("malformed " + llvm::Twine(kDeviceLayers));
    placed.pool = pool.getInt();
    placed.entries.assign(entries.asArrayRef().begin(),
                          entries.asArrayRef().end());
    code.layers.push_back(std::move(placed));
  }
  return llvm::Error::success();
}

std::vector<Pool> moe::cuda::poolsOfPtx(MLIRContext *context, StringRef ptx) {
  size_t at = ptx.rfind(kPoolsLine);
  if (at == StringRef::npos)
    return {};
  StringRef line = ptx.drop_front(at + kPoolsLine.size()).split('\n').first;
  auto list = dyn_cast_or_null<ArrayAttr>(parseAttribute(line, context));
  return list ? poolsOf(list).value_or(std::vector<Pool>())
              : std::vector<Pool>();
}
