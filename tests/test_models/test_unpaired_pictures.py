import torch

from dkp_plugin.archs.unpaired_arch import UnpairedSR
from dkp_plugin.models.unpaired_pictures import kernel_sheet, preview


def test_kernels_lie_in_rows(rng):
    kernels = torch.rand(5, 1, 3, 3, generator=rng)
    sheet = kernel_sheet(kernels)
    assert sheet.shape == (1, 6, 9) and sheet.max() == 1
    for index in range(6):
        cell = sheet[0, 3 * (index // 3) :, 3 * (index % 3) :][:3, :3]
        expected = kernels[index, 0] / kernels[index].max() if index < 5 else torch.zeros(3, 3)
        torch.testing.assert_close(cell, expected)


def test_each_image_is_a_row(rng):
    net = UnpairedSR(2, num_feat=4, num_block=1, num_block_refine=1, num_feat_kernel=4, num_block_kernel=1)
    lq = torch.rand(2, 3, 8, 10, generator=rng)
    row = preview(net, lq)
    assert row.shape == (3, 32, 80)
    torch.testing.assert_close(row[:, 16:, :20], net.degradation.enlarge(lq)[1].clamp(0, 1))
    torch.testing.assert_close(row[:, :16, 60:], net(lq)[0].clamp(0, 1).detach(), rtol=0, atol=1e-5)
