import torch

from experts.tensors import file_numbers

MIB = 1 << 20


def tensors(*sizes_mib):
    return {
        str(k): torch.empty(size * MIB, dtype=torch.uint8, device="meta")
        for k, size in enumerate(sizes_mib)
    }


def test_file_numbers_of_a_small_state_name_one_file():
    assert set(file_numbers(tensors(1, 2, 3)).values()) == {1}


def test_file_numbers_of_a_large_state_share_it_out_evenly_in_order():
    assert list(file_numbers(tensors(*[40] * 16)).values()) == [1 + k // 2 for k in range(16)]


def test_file_numbers_of_one_huge_tensor_leave_no_file_out():
    assert list(file_numbers(tensors(1, 900, 1, 1)).values()) == [1, 1, 2, 2]


def test_file_numbers_of_a_middling_state_fill_files_before_they_begin_others():
    assert list(file_numbers(tensors(10, 10, 10, 10)).values()) == [1, 1, 2, 2]
