#include "frontends/ONNX/ExportWeights.h"

#include "llvm/Support/raw_ostream.h"

using namespace mlir;
using namespace moe;
using namespace moe::onnx;

static uint64_t bitsOf(Type element) {
  return element.isInteger(1) ? 8 : element.getIntOrFloatBitWidth();
}

BankView BankView::whole(BankOp bank) {
  BankView view;
  view.bank = bank;
  ArrayRef<int64_t> shape = bank.getTensorType().getShape();
  view.shape.assign(shape.begin(), shape.end());
  view.strides.resize(shape.size());
  int64_t stride = 1;
  for (size_t d = shape.size(); d-- > 0; stride *= shape[d])
    view.strides[d] = stride;
  return view;
}

FailureOr<BankView> BankView::of(SliceAttr slice, SymbolTable &symbols,
                                 Operation *user) {
  auto bank = symbols.lookup<BankOp>(slice.getBank().getValue());
  if (!bank)
    return user->emitOpError("reads ")
           << slice.getBank() << ", which is not a moe.bank";
  auto geometry =
      slice.resolve(bank.getTensorType(), [&] { return user->emitOpError(); });
  if (failed(geometry))
    return failure();
  BankView view;
  view.bank = bank;
  view.offset = geometry->offset;
  view.shape.assign(geometry->shape.begin(), geometry->shape.end());
  view.strides.assign(geometry->strides.begin(), geometry->strides.end());
  return view;
}

int64_t BankView::size() const {
  int64_t size = 1;
  for (int64_t n : shape)
    size *= n;
  return size;
}

uint64_t PlannedWeight::bytes() const {
  return (uint64_t(type.getNumElements()) * bitsOf(type.getElementType()) + 7) /
         8;
}

std::string PlannedWeight::key() const {
  std::string text;
  llvm::raw_string_ostream os(text);
  os << type << int(flip) << int(pack);
  auto put = [&](const BankView &view) {
    BankOp bank = view.bank;
    // Two banks may be one place in a file.
    if (bank.getArchive() && bank.getOffset())
      os << "|" << *bank.getArchive() << "@" << *bank.getOffset() << ":"
         << bank.getTensorType().getElementType();
    else
      os << "|" << bank.getSymName();
    os << "+" << view.offset;
    for (auto [size, stride] : llvm::zip(view.shape, view.strides))
      os << "," << size << "*" << stride;
  };
  for (const WeightPiece &piece : pieces) {
    put(piece.view);
    if (piece.second)
      put(*piece.second);
  }
  return text;
}

namespace {
/// Collects bytes until there are enough to pass on.
class Runs {
public:
  Runs(uint8_t flip, bool pack, ByteSink sink)
      : flip(flip), pack(pack), sink(sink) {}

  void add(const char *data, uint64_t size) {
    if (buffer.empty() && !flip && !pack && size >= kRun) {
      // Long runs go as they lie, in parts so that pages can be given back.
      for (uint64_t at = 0; at < size; at += 16 * kRun)
        sink(StringRef(data + at, std::min(size - at, 16 * kRun)));
      return;
    }
    while (size > 0) {
      uint64_t part = std::min(size, kRun);
      buffer.append(data, part);
      data += part, size -= part;
      if (buffer.size() >= kRun)
        flush(/*all=*/false);
    }
  }
  void flush(bool all = true) {
    if (flip)
      for (char &c : buffer)
        c = static_cast<char>(c ^ flip);
    if (pack) {
      std::string packed;
      size_t pairs = all ? (buffer.size() + 1) / 2 : buffer.size() / 2;
      for (size_t i = 0; i < pairs; ++i) {
        char high = 2 * i + 1 < buffer.size() ? buffer[2 * i + 1] : 0;
        packed += static_cast<char>((buffer[2 * i] & 15) | (high << 4));
      }
      sink(packed);
      buffer.erase(0, std::min(2 * pairs, buffer.size()));
      return;
    }
    if (!buffer.empty())
      sink(buffer);
    buffer.clear();
  }

private:
  static constexpr uint64_t kRun = 1 << 18;
  uint8_t flip;
  bool pack;
  ByteSink sink;
  std::string buffer;
};

} // namespace

/// Whether the dimensions from `from` on lie one after the other.
static bool isDense(const BankView &view, size_t from) {
  int64_t stride = 1;
  for (size_t d = view.shape.size(); d-- > from;) {
    if (view.shape[d] != 1 && view.strides[d] != stride)
      return false;
    stride *= view.shape[d];
  }
  return true;
}

/// Elements of `view` from dimension `dim` on, at `offset`.
static void addElements(const BankView &view, StringRef data, uint64_t bits,
                        size_t dim, int64_t offset, Runs &runs) {
  if (dim == view.shape.size() || isDense(view, dim)) {
    int64_t count = 1;
    for (size_t d = dim; d < view.shape.size(); ++d)
      count *= view.shape[d];
    runs.add(data.data() + uint64_t(offset) * bits / 8,
             (uint64_t(count) * bits + 7) / 8);
    return;
  }
  for (int64_t i = 0; i < view.shape[dim]; ++i)
    addElements(view, data, bits, dim + 1, offset + i * view.strides[dim],
                runs);
}

WeightReader::~WeightReader() {
  for (auto &entry : banks)
    options.release(entry.second);
}

FailureOr<StringRef> WeightReader::open(BankOp bank, BankOp other) {
  for (auto &entry : banks)
    if (entry.first == bank)
      return entry.second;
  if (banks.size() >= 2) {
    size_t oldest = banks[0].first == other ? 1 : 0;
    options.release(banks[oldest].second);
    banks.erase(banks.begin() + oldest);
  }
  auto bytes = options.bytes(bank);
  if (succeeded(bytes))
    banks.push_back({bank, *bytes});
  return bytes;
}

/// Gives back the pages of a view that has been read. Derived banks have none.
void WeightReader::letGo(const BankView &view, StringRef bytes) {
  BankOp bank = view.bank;
  if (bank.getRecipe())
    return;
  uint64_t bits = bitsOf(view.elementType()), last = view.offset;
  for (auto [size, stride] : llvm::zip(view.shape, view.strides))
    last += uint64_t(size - 1) * stride;
  uint64_t begin = view.offset * bits / 8, end = (last + 1) * bits / 8;
  options.release(bytes.slice(begin, end));
}

LogicalResult WeightReader::read(const PlannedWeight &weight, ByteSink sink) {
  if (weight.type.getNumElements() == 0)
    return success();
  Runs runs(weight.flip, weight.pack, sink);
  for (const WeightPiece &piece : weight.pieces) {
    BankOp bank = piece.view.bank;
    BankOp other = piece.second ? piece.second->bank : BankOp();
    auto data = open(bank, other);
    if (failed(data))
      return failure();
    uint64_t bits = bitsOf(piece.view.elementType());
    if (!piece.second) {
      addElements(piece.view, *data, bits, 0, piece.view.offset, runs);
      letGo(piece.view, *data);
      continue;
    }
    auto second = open(other, bank);
    if (failed(second))
      return failure();
    for (int64_t row = 0; row < piece.view.shape[0]; ++row) {
      addElements(piece.view, *data, bits, 1,
                  piece.view.offset + row * piece.view.strides[0], runs);
      addElements(*piece.second, *second, bits, 1,
                  piece.second->offset + row * piece.second->strides[0], runs);
    }
    letGo(piece.view, *data);
    letGo(*piece.second, *second);
  }
  runs.flush();
  return success();
}
