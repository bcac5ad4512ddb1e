#include "codegen/Link/WeightWriter.h"

#include "dialects/MoE/MoEOps.h"
#include <cerrno>
#include <cstring>
#include <unistd.h>

using namespace mlir;
using namespace moe;

namespace {
constexpr uint64_t kPiece = 8 << 20;

class Writer {
public:
  Writer(ModuleOp module, WeightSource &source, int fd, uint64_t offset)
      : symbols(module), source(source), fd(fd), start(offset) {}

  LogicalResult write(BankOp bank);

private:
  LogicalResult put(BankOp bank, uint64_t at, const char *data, uint64_t size);
  LogicalResult copy(BankOp bank, uint64_t at);
  LogicalResult panels(BankOp bank, PanelsAttr recipe, uint64_t at);

  SymbolTable symbols;
  WeightSource &source;
  int fd;
  uint64_t start;
};
} // namespace

LogicalResult Writer::put(BankOp bank, uint64_t at, const char *data,
                          uint64_t size) {
  while (size > 0) {
    ssize_t n = pwrite(fd, data, size, start + at);
    if (n < 0 && errno == EINTR)
      continue;
    if (n <= 0)
      return bank.emitError() << "cannot write weights: " << strerror(errno);
    data += n, at += n, size -= n;
  }
  return success();
}

LogicalResult Writer::copy(BankOp bank, uint64_t at) {
  auto bytes = source.bytes(bank);
  if (failed(bytes))
    return failure();
  for (uint64_t done = 0; done < bytes->size(); done += kPiece) {
    StringRef piece = bytes->substr(done, kPiece);
    if (failed(put(bank, at + done, piece.data(), piece.size())))
      return failure();
    if (!bank.getRecipe())
      source.release(piece);
  }
  if (bank.getRecipe())
    source.release(*bytes);
  return success();
}

/// `#moe.panels`: element [m, p, k, c] is column p * width + c, input k.
LogicalResult Writer::panels(BankOp bank, PanelsAttr recipe, uint64_t at) {
  unsigned bytesPer = bank.getTensorType().getElementTypeBitWidth() / 8;
  int64_t width = recipe.getWidth(), depth = recipe.getDepth();
  int64_t run = recipe.getInterleave() ? recipe.getInterleave() : width;
  int64_t panelsPerMatrix = bank.getTensorType().getDimSize(1);
  std::vector<char> panel(width * depth * bytesPer);
  for (Attribute matrix : recipe.getMatrices()) {
    SmallVector<ColumnsAttr> runs;
    SmallVector<StringRef> bytes;
    for (Attribute attribute : cast<ArrayAttr>(matrix)) {
      auto columns = cast<ColumnsAttr>(attribute);
      auto from = symbols.lookup<BankOp>(columns.getBank().getValue());
      if (!from)
        return bank.emitOpError("takes columns of ")
               << columns.getBank() << ", which is not a moe.bank";
      if (from.getTensorType().getElementType() !=
          bank.getTensorType().getElementType())
        return bank.emitOpError("has elements of type ")
               << bank.getTensorType().getElementType() << ", but "
               << columns.getBank() << " of type "
               << from.getTensorType().getElementType();
      int64_t last = columns.getOffset() +
                     (columns.getCount() - 1) * columns.getStrideN() +
                     (depth - 1) * columns.getStrideK();
      if (columns.getCount() > 0 &&
          (columns.getOffset() < 0 ||
           last >= from.getTensorType().getNumElements()))
        return bank.emitOpError("takes columns beyond the end of ")
               << columns.getBank();
      auto data = source.bytes(from);
      if (failed(data))
        return failure();
      runs.push_back(columns);
      bytes.push_back(*data);
    }
    // Column n of the matrix: which run, which column of it.
    auto locate = [&](int64_t n) -> std::pair<int64_t, int64_t> {
      if (recipe.getInterleave()) {
        int64_t p = n / width, c = n % width;
        return {c / run, p * run + c % run};
      }
      int64_t r = 0;
      while (r < static_cast<int64_t>(runs.size()) && n >= runs[r].getCount())
        n -= runs[r++].getCount();
      return {r, n};
    };
    for (int64_t p = 0; p < panelsPerMatrix; ++p) {
      std::fill(panel.begin(), panel.end(), 0);
      for (int64_t c = 0; c < width; ++c) {
        auto [r, n] = locate(p * width + c);
        if (r >= static_cast<int64_t>(runs.size()) || n >= runs[r].getCount())
          continue; // padding
        const char *from =
            bytes[r].data() +
            (runs[r].getOffset() + n * runs[r].getStrideN()) * bytesPer;
        int64_t stride = runs[r].getStrideK() * bytesPer;
        char *to = panel.data() + c * bytesPer;
        for (int64_t k = 0; k < depth; ++k)
          memcpy(to + k * width * bytesPer, from + k * stride, bytesPer);
      }
      if (failed(put(bank, at, panel.data(), panel.size())))
        return failure();
      at += panel.size();
    }
    for (auto [columns, data] : llvm::zip(runs, bytes))
      source.release(
          data.substr(columns.getOffset() * bytesPer,
                      ((columns.getCount() - 1) * columns.getStrideN() +
                       (depth - 1) * columns.getStrideK() + 1) *
                          bytesPer));
  }
  return success();
}

LogicalResult Writer::write(BankOp bank) {
  uint64_t at = bank->getAttrOfType<IntegerAttr>("moe.place").getInt();
  if (!bank.getRecipe() || isa<MixAttr, DenseElementsAttr>(*bank.getRecipe()))
    return copy(bank, at);
  if (auto recipe = dyn_cast<PanelsAttr>(*bank.getRecipe()))
    return panels(bank, recipe, at);
  return bank.emitOpError("has a recipe that cannot be executed: ")
         << *bank.getRecipe();
}

LogicalResult moe::writeWeights(ModuleOp module, WeightSource &source, int fd,
                                uint64_t offset) {
  Writer writer(module, source, fd, offset);
  for (BankOp bank : module.getOps<BankOp>())
    if (bank->hasAttr("moe.place") && failed(writer.write(bank)))
      return failure();
  return success();
}
