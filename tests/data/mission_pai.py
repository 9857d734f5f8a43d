from pai.common.utils import random_str
from pai.model import ModelTrainingRecipe
from pai.session import get_default_session

sess = get_default_session()
# 获取训练脚本
training_recipe = ModelTrainingRecipe(
    model_name="qwen2-0.5b-instruct",
    model_provider="pai",
    method="LoRA_LLM",
    hyperparameters={
        # 通过DPO训练
        "training_strategy": "dpo",
    },
)
# 公共读测试训练数据
train_data_uri = f"oss://pai-quickstart-{sess.region_id}/huggingface/datasets/safe_rlhf/sampled_train.json"
# 提交作业到PAI,并等待训练完成
training_recipe.train(
    inputs={
        "train": train_data_uri,
    }
)
# 部署推理服务
predictor = training_recipe.deploy(service_name=f"qwen2_example_{random_str(6)}")
# 部署的服务支持openai API
openai = predictor.openai()
resp = openai.chat.completions.create(
    model="default",
    messages=[
        {"role": "system", "content": "You are a helpful assistant."},
        {"role": "user", "content": "What is the meaning of life?"},
    ],
)
print(resp.choices[0].message.content)
# 删除推理服务
predictor.delete_service()
