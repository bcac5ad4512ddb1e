// Matrices of experts as kernels read them.
#ifndef MOE_RUNTIME_DEVICE_PACKROWS_H
#define MOE_RUNTIME_DEVICE_PACKROWS_H

#include <cstdint>

namespace moe::rt {

/// A matrix of numbers of two bytes in panels: number (row n, depth k) is
/// `panels[(p * depth + k) * width + c]`. Row n is column n % width of panel n
/// / width; of a gated matrix (`halves`), neuron n of the gate is column n %
/// (width / 2) of panel n / (width / 2), and its other row stands half a panel
/// behind.
struct PanelMatrix {
  const uint16_t *panels;
  int64_t depth, width;
  bool halves;
};

/// Rows of `paddedDepth` numbers, zero behind `depth`: `tiles` tiles of 16
/// rows, which are those of the matrix in order, up to `rows` of them. Of a
/// gated matrix, 8 rows of the gate and the 8 rows of the same neurons that it
/// gates. What has no row is zero.
void packRows(const PanelMatrix &from, int64_t rows, int64_t tiles,
              int64_t paddedDepth, uint16_t *to);

} // namespace moe::rt

#endif // MOE_RUNTIME_DEVICE_PACKROWS_H
