#include "frontends/ONNX/TensorImport.h"

#include "frontends/ONNX/ElementTypes.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace moe::onnx;

namespace {
class Reader {
public:
  Reader(const pb::Tensor &tensor, MLIRContext *context,
         function_ref<InFlightDiagnostic()> emitError)
      : tensor(tensor), context(context), emitError(emitError) {}

  FailureOr<ImportedTensor> read(StringRef archive, const ModelFile::Range *raw,
                                 ExternalFiles &files);

private:
  InFlightDiagnostic error() {
    return emitError() << "tensor '" << tensor.name() << "' ";
  }
  LogicalResult readType();
  FailureOr<ImportedTensor> readExternal(ExternalFiles &files);
  FailureOr<DenseElementsAttr> fromBytes(StringRef bytes);
  FailureOr<DenseElementsAttr> fromFields();
  template <typename T, typename Values>
  FailureOr<DenseElementsAttr> fromField(const Values &values);

  const pb::Tensor &tensor;
  MLIRContext *context;
  function_ref<InFlightDiagnostic()> emitError;
  RankedTensorType type;
  uint64_t elements = 0, bits = 0, bytes = 0;
};
} // namespace

LogicalResult Reader::readType() {
  Type element = elementTypeOf(context, tensor.data_type());
  if (!element)
    return error() << "has " << describeElement(tensor.data_type())
                   << ", which is not supported";
  bits = element.isInteger(1) ? 8 : element.getIntOrFloatBitWidth();
  elements = 1;
  bool overflow = false;
  for (int64_t size : tensor.dims()) {
    if (size < 0)
      return error() << "has a negative dimension, " << size;
    overflow |= __builtin_mul_overflow(elements, uint64_t(size), &elements);
  }
  // 2^48 bytes are more than any address space holds.
  if (overflow || elements > (uint64_t(1) << 48))
    return error() << "is too large: its dimensions are ["
                   << llvm::join(llvm::map_range(tensor.dims(),
                                                 [](int64_t n) {
                                                   return std::to_string(n);
                                                 }),
                                 ", ")
                   << "]";
  bytes = (elements * bits + 7) / 8;
  type = RankedTensorType::get(
      ArrayRef<int64_t>(tensor.dims().data(), tensor.dims_size()), element);
  return success();
}

FailureOr<ImportedTensor> Reader::readExternal(ExternalFiles &files) {
  StringRef location;
  uint64_t offset = 0;
  std::optional<uint64_t> length;
  for (const pb::StringPair &pair : tensor.external_data()) {
    StringRef value = pair.value();
    uint64_t number = 0;
    if (pair.key() == "location") {
      location = value;
    } else if (pair.key() == "offset" || pair.key() == "length") {
      if (value.getAsInteger(10, number))
        return error() << "has external " << pair.key() << " '" << value
                       << "', which is not a decimal number";
      if (pair.key() == "offset")
        offset = number;
      else
        length = number;
    }
  }
  const ExternalFiles::File *file = files.find(
      location, [&] { return std::move(error() << "cannot be read: "); });
  if (!file)
    return failure();
  if (length && *length != bytes)
    return error() << "has external length " << *length << ", but its type "
                   << type << " takes " << bytes << " bytes";
  if (offset > file->size || bytes > file->size - offset)
    return error() << "needs " << bytes << " bytes from offset " << offset
                   << " of '" << location << "', which has " << file->size;
  ImportedTensor result{type, {}, location.str(), offset, bytes};
  if (bytes > kLargestConstant)
    return result;
  auto buffer = llvm::MemoryBuffer::getFileSlice(file->path, bytes, offset);
  if (!buffer)
    return error() << "cannot be read from '" << location
                   << "': " << buffer.getError().message();
  auto value = fromBytes((*buffer)->getBuffer());
  if (failed(value))
    return failure();
  result.value = *value;
  return result;
}

/// `data` in ONNX's raw form: little-endian, sub-byte elements packed with the
/// first one in the low bits.
FailureOr<DenseElementsAttr> Reader::fromBytes(StringRef data) {
  Type element = type.getElementType();
  if (element.isInteger(1)) {
    SmallVector<bool> values;
    for (char c : data)
      values.push_back(c != 0);
    return DenseElementsAttr::get(type, values);
  }
  if (bits >= 8) {
    // A single element would be taken for a splat; that is what it is.
    return DenseElementsAttr::getFromRawBuffer(
        type, ArrayRef<char>(data.data(), data.size()));
  }
  SmallVector<Attribute> values;
  auto integer = dyn_cast<IntegerType>(element);
  for (uint64_t i = 0; i < elements; ++i) {
    uint64_t at = i * bits;
    uint8_t raw = (uint8_t(data[at / 8]) >> (at % 8)) & ((1 << bits) - 1);
    APInt pattern(bits, raw);
    if (integer)
      values.push_back(IntegerAttr::get(element, pattern));
    else
      values.push_back(FloatAttr::get(
          element,
          APFloat(cast<FloatType>(element).getFloatSemantics(), pattern)));
  }
  return DenseElementsAttr::get(type, values);
}

template <typename T, typename Values>
FailureOr<DenseElementsAttr> Reader::fromField(const Values &values) {
  uint64_t wanted = bits < 8 ? bytes : elements;
  if (static_cast<uint64_t>(values.size()) != wanted)
    return error() << "has " << values.size() << " values, but its type "
                   << type << " takes " << wanted;
  std::string data;
  data.reserve(values.size() * sizeof(T));
  for (auto value : values) {
    T narrow = static_cast<T>(value);
    data.append(reinterpret_cast<const char *>(&narrow), sizeof(T));
  }
  return fromBytes(data);
}

FailureOr<DenseElementsAttr> Reader::fromFields() {
  switch (tensor.data_type()) {
  case 1:
    return fromField<float>(tensor.float_data());
  case 7:
    return fromField<int64_t>(tensor.int64_data());
  case 11:
    return fromField<double>(tensor.double_data());
  case 12:
    return fromField<uint32_t>(tensor.uint64_data());
  case 13:
    return fromField<uint64_t>(tensor.uint64_data());
  default: // everything else lies bit by bit in int32_data
    if (bits == 32)
      return fromField<int32_t>(tensor.int32_data());
    if (bits == 16)
      return fromField<uint16_t>(tensor.int32_data());
    return fromField<uint8_t>(tensor.int32_data());
  }
}

FailureOr<ImportedTensor> Reader::read(StringRef archive,
                                       const ModelFile::Range *raw,
                                       ExternalFiles &files) {
  if (failed(readType()))
    return failure();
  if (tensor.data_location() == 1)
    return readExternal(files);
  ImportedTensor result{type, {}, "", 0, bytes};
  FailureOr<DenseElementsAttr> value = failure();
  if (tensor.has_raw_data()) {
    if (tensor.raw_data().size() != bytes)
      return error() << "has " << tensor.raw_data().size()
                     << " bytes of data, but its type " << type << " takes "
                     << bytes;
    if (raw && bytes > kLargestConstant) {
      result.archive = archive.str();
      result.offset = raw->offset;
      return result;
    }
    value = elements ? fromBytes(tensor.raw_data())
                     : FailureOr<DenseElementsAttr>(
                           DenseElementsAttr::get(type, ArrayRef<Attribute>()));
  } else {
    value = elements ? fromFields()
                     : FailureOr<DenseElementsAttr>(
                           DenseElementsAttr::get(type, ArrayRef<Attribute>()));
  }
  if (failed(value))
    return failure();
  result.value = *value;
  return result;
}

FailureOr<ImportedTensor>
moe::onnx::importTensor(const pb::Tensor &tensor, MLIRContext *context,
                        StringRef archive, const ModelFile::Range *raw,
                        ExternalFiles &files,
                        function_ref<InFlightDiagnostic()> emitError) {
  return Reader(tensor, context, emitError).read(archive, raw, files);
}
