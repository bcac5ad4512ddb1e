#include "codegen/Bundle/WriteBundle.h"

#include "runtime/Bundle/Bundle.h"
#include "llvm/Support/MemoryBuffer.h"

using namespace mlir;
using namespace moe;

LogicalResult moe::writeBundle(MLIRContext *context, WeightWriter &weights,
                               StringRef path, StringRef image,
                               const BundleText &text, WeightProgress progress,
                               llvm::json::Object &facts) {
  auto failed = [&](const rt::Status &status) {
    return emitError(UnknownLoc::get(context)) << status.message;
  };
  auto code = llvm::MemoryBuffer::getFile(image, /*IsText=*/false,
                                          /*RequiresNullTerminator=*/false);
  if (!code)
    return emitError(UnknownLoc::get(context))
           << "cannot read back the linked code: " << code.getError().message();
  auto writer = rt::BundleWriter::create(
      path.str(), {text.name, "moe-opt", text.cpuFeatures, {}});
  if (!writer)
    return failed(writer.error());
  rt::BundleWriter &bundle = **writer;
  bundle.beginSection("code", text.target);
  bundle.append((*code)->getBuffer());
  bundle.endSection();
  if (text.weightsSize) {
    auto at = bundle.reserveSection("weights", text.target, text.weightsSize);
    if (!at)
      return failed(at.error());
    if (mlir::failed(weights.write(path, bundle.descriptor(), *at, progress)))
      return failure();
    rt::Status hashed = bundle.finishReserved();
    if (!hashed.ok())
      return failed(hashed);
  }
  rt::Status written = bundle.commit();
  if (!written.ok())
    return failed(written);
  facts["code_bytes"] = static_cast<int64_t>((*code)->getBufferSize());
  facts["executable_bytes"] =
      static_cast<int64_t>((*code)->getBufferSize() + text.weightsSize);
  return success();
}
