#include "codegen/CUDA/DeviceCode.h"

#include "codegen/CUDA/Kernels.h"
#include "mlir/AsmParser/AsmParser.h"
#include "llvm/Support/raw_ostream.h"

using namespace mlir;
using namespace moe;
using namespace moe::cuda;

static constexpr StringRef kPoolsLine = "// moe-opt pools: ";

llvm::Expected<DeviceCode> moe::cuda::makeDeviceCode(ModuleOp module,
                                                     StringRef architecture) {
  DeviceCode code;
  code.architecture = architecture.str();
  auto pools = module->getAttrOfType<ArrayAttr>(kDevicePools);
  for (Attribute attribute : pools) {
    std::optional<Pool> pool = fromAttribute(attribute);
    if (!pool)
      return llvm::createStringError("malformed " + llvm::Twine(kDevicePools));
    code.pools.push_back(*pool);
  }
  OwningOpRef<ModuleOp> kernels =
      poolKernels(module.getContext(), code.pools, code.kernels);
  auto ptx = emitPtx(*kernels, architecture);
  if (!ptx)
    return ptx.takeError();
  code.ptx = std::move(*ptx);
  llvm::raw_string_ostream(code.ptx) << kPoolsLine << Attribute(pools) << "\n";
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
  std::vector<Pool> pools;
  size_t at = ptx.rfind(kPoolsLine);
  if (at == StringRef::npos)
    return pools;
  StringRef line = ptx.drop_front(at + kPoolsLine.size()).split('\n').first;
  auto list = dyn_cast_or_null<ArrayAttr>(parseAttribute(line, context));
  if (!list)
    return pools;
  for (Attribute attribute : list) {
    std::optional<Pool> pool = fromAttribute(attribute);
    if (!pool)
      return {};
    pools.push_back(*pool);
  }
  return pools;
}
