#ifndef MOE_CODEGEN_CPU_PANELPRODUCT_H
#define MOE_CODEGEN_CPU_PANELPRODUCT_H

#include "codegen/CPU/CodedPanel.h"
#include "codegen/CPU/Microkernel.h"
#include <optional>

namespace moe {

/// One of the tiles that share rows evenly: 13 rows are 7 and 6, not 12 and 1.
struct Tile {
  Num index, first, rows;
};

/// Calls `body` for the tiles of `rows` rows.
void forTiles(KernelBuilder &k, Num rows, KernelBuilder::Fn<void(Tile)> body);

/// Memory for the addresses of a tile's rows, in bytes.
int64_t rowTableBytes(const Isa &isa);

/// Packs all of `rows` rows of `depth` f32 numbers into tiles at `tiles`, tile
/// after tile; `address` gives a row, `table` is memory for addresses.
void packTiles(KernelBuilder &k, Num rows, int64_t depth, Num tiles, Num table,
               KernelBuilder::Fn<Num(Num)> address);
/// The same for one tile of `count` rows, whose first is number 0.
void packTile(KernelBuilder &k, Num count, Num depth, Num tile, Num table,
              KernelBuilder::Fn<Num(Num)> address);

/// Rows in packed tiles times one panel of packed weights.
///
/// The depth is cut into blocks whose part of the panel stays in the
/// first-level cache while all tiles pass over it, so the panel comes once
/// from farther away, whatever the number of rows. Meanwhile the block behind
/// it is fetched. Narrow weights are widened once for all tiles, quantised ones
/// for all but one or two rows.
struct PanelProduct {
  mlir::Type weights; ///< f32, bf16 or f16; bytes where they are coded
  int64_t depth;
  std::optional<CodedPanel> coded = std::nullopt;

  /// Rows of a panel that all tiles pass over before the next come: 16 KB of
  /// f32 numbers, so that a tile has room beside them in the first-level cache.
  static int64_t blockDepth(const Isa &isa) { return 4096 / isa.width(); }

  /// Rows whose tiles stay in the second-level cache while panels stream by.
  int64_t blockRows(const Isa &isa) const;
  /// f32 numbers in the memory of a call: the results of at most `blockRows`
  /// rows, then what it needs for itself.
  int64_t memorySize(const Isa &isa) const;

  /// Panel `index` of matrices of panels at `all`: scales and zeros only where
  /// the weights are coded.
  CodedPanel::Place panel(KernelBuilder &k, const CodedPanel::Place &all,
                          Num index) const;
  /// Emits a call: `memory[r, c] = sum_k tiles[r, k] * panel[k, c]` for the
  /// columns of the panel, row after row.
  void call(KernelBuilder &k, Num rows, Num tiles,
            const CodedPanel::Place &panel, Num memory) const;
  void call(KernelBuilder &k, Num rows, Num tiles, Num panel,
            Num memory) const {
    call(k, rows, tiles, CodedPanel::Place{panel, {}, {}}, memory);
  }

private:
  void write(KernelBuilder &k, llvm::ArrayRef<Num> arguments) const;
  void writeCoded(KernelBuilder &k, llvm::ArrayRef<Num> arguments) const;
  void product(KernelBuilder &k, const Microkernel &kernel, Num rows,
               Num packed, Num first, Num count, Num weightsOfBlock, Num behind,
               int64_t rowBytes, Num results) const;
  bool isNarrow() const { return coded || !weights.isF32(); }
};

} // namespace moe

#endif // MOE_CODEGEN_CPU_PANELPRODUCT_H
