#include "runtime/Device/ExpertMatrices.h"

#include "runtime/Core/Tensor.h"
#include "runtime/Core/Text.h"
#include "runtime/Device/PackRows.h"

#include <algorithm>
#include <array>

namespace moe::rt {
namespace {

/// How the parts of one expert's matrix lie, here and there.
class Layout {
public:
  Layout(const moert_device_pool &pool, const moert_device_matrix &matrix)
      : matrix(matrix), elementBytes(pool.element_bytes),
        from{matrix.rows, matrix.depth, pool.panel_width, matrix.is_gated != 0},
        format{static_cast<RowCoding>(matrix.coding),
               static_cast<RowScale>(matrix.scale), matrix.block,
               matrix.has_zeros != 0} {}

  /// On the device: values, scales, zeros, biases.
  std::array<uint64_t, 4> bytes() const {
    int64_t depth = matrix.depth, tiles = matrix.tiles;
    int64_t bias = matrix.bias ? tiles * 16 * 4 : 0;
    std::array<int64_t, 4> sizes =
        isPlain()
            ? std::array<int64_t, 4>{tiles * 16 * matrix.padded_depth *
                                         elementBytes,
                                     0, 0, bias}
            : std::array<int64_t, 4>{tiles * format.codeBytes(depth),
                                     tiles * format.scaleBytes(depth),
                                     tiles * format.zeroBytes(depth), bias};
    std::array<uint64_t, 4> made;
    std::copy(sizes.begin(), sizes.end(), made.begin());
    return made;
  }

  /// Packs expert `e` of those at `place` of `weights`.
  void pack(const char *weights, const moert_device_place &place, int64_t e,
            std::array<std::vector<uint8_t>, 4> &to) const {
    if (isPlain()) {
      const char *panels =
          weights + place.values +
          e * panelBytes(8 * static_cast<int64_t>(elementSize(matrix.element)));
      if (elementSize(matrix.element) == static_cast<size_t>(elementBytes))
        packRows(from, panels, elementSize(matrix.element), matrix.tiles,
                 matrix.padded_depth, to[0].data());
      else
        widenRows(
            from,
            [&](int64_t i) {
              return static_cast<float>(
                  elementAsDouble(panels, matrix.element, i));
            },
            matrix.tiles, matrix.padded_depth,
            reinterpret_cast<float *>(to[0].data()));
    } else {
      int64_t bits = format.isByte() ? 8 : 4;
      int64_t numbers = from.panels() * blocks() * from.width;
      auto at = [&](uint64_t offset) {
        return reinterpret_cast<const uint8_t *>(weights + offset);
      };
      CodedPanels panels = {at(place.values) + e * panelBytes(bits),
                            at(place.scales) + e * numbers * format.scaleSize(),
                            at(place.zeros) + e * numbers * bits / 8};
      packCodedRows(from, panels, format, matrix.tiles, to[0].data(),
                    to[1].data(), to[2].data());
    }
    if (matrix.bias) {
      int64_t first = e * matrix.rows * (from.halves ? 2 : 1);
      packBias(
          from, matrix.tiles,
          [&](int64_t i) {
            return static_cast<float>(
                elementAsDouble(weights + place.bias, matrix.bias, first + i));
          },
          reinterpret_cast<float *>(to[3].data()));
    }
  }

private:
  bool isPlain() const { return matrix.element != 0; }
  int64_t blocks() const {
    return format.block ? (matrix.depth + format.block - 1) / format.block : 1;
  }
  /// One expert's values in panels.
  int64_t panelBytes(int64_t bits) const {
    return from.panels() * from.depth * from.width * bits / 8;
  }

  const moert_device_matrix &matrix;
  int64_t elementBytes; // of plain rows
  PanelMatrix from;
  CodedRows format;
};

} // namespace

uint64_t ExpertMatrices::bytes(const moert_device_pool &pool,
                               const moert_device_matrix &matrix) {
  uint64_t sum = 0;
  for (uint64_t part : Layout(pool, matrix).bytes())
    sum += static_cast<uint64_t>(pool.experts) * part;
  return sum;
}

Result<ExpertMatrices>
ExpertMatrices::upload(Device &device, const moert_device_pool &pool,
                       const moert_device_matrix &matrix, const char *weights,
                       const moert_device_place &place, const std::string &name,
                       ProgressSum &progress) {
  Layout layout(pool, matrix);
  const char *names[NumParts] = {"", "scales of ", "zeros of ", "biases of "};
  ExpertMatrices made;
  std::array<std::vector<uint8_t>, NumParts> packed;
  for (int i = 0; i < NumParts; ++i) {
    uint64_t bytes = layout.bytes()[i];
    packed[i].resize(bytes);
    if (!bytes)
      continue;
    auto buffer = device.allocate(static_cast<uint64_t>(pool.experts) * bytes,
                                  names[i] + name);
    if (!buffer)
      return buffer.error();
    made.parts[i].address = buffer->pointer();
    made.parts[i].buffer = std::move(*buffer);
  }
  for (int64_t e = 0; e < pool.experts; ++e) {
    layout.pack(weights, place, e, packed);
    for (int i = 0; i < NumParts; ++i) {
      uint64_t bytes = packed[i].size();
      if (!bytes)
        continue;
      Status status =
          device.upload(made.parts[i].buffer, static_cast<uint64_t>(e) * bytes,
                        packed[i].data(), bytes);
      if (!status.ok())
        return status;
      progress.add(bytes);
    }
  }
  return made;
}

Status ExpertMatrices::map(Device &device, const moert_device_pool &pool,
                           const moert_device_matrix &matrix,
                           uint32_t boxRows) {
  auto made = encodeTensorMap(device, parts[Values].buffer,
                              {static_cast<uint64_t>(pool.experts),
                               static_cast<uint64_t>(16 * matrix.tiles),
                               static_cast<uint64_t>(matrix.padded_depth)},
                              boxRows);
  if (made)
    tensorMap = *made;
  return made.error();
}

void ExpertMatrices::addArguments(std::vector<void *> &arguments) {
  for (int i = Scales; i < NumParts; ++i)
    if (parts[i].address)
      arguments.push_back(&parts[i].address);
}

} // namespace moe::rt
