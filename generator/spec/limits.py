"""How much user-data the cloud takes, in bytes before Base64.

RunInstances and launch templates:
https://www.alibabacloud.com/help/en/ecs/developer-reference/api-ecs-2014-05-26-runinstances (UserData)
Scaling configurations of Auto Scaling:
https://www.alibabacloud.com/help/en/auto-scaling/developer-reference/api-ess-2014-08-28-createscalingconfiguration
"""

ECS_LIMIT = 32_768
AUTO_SCALING_LIMIT = 16_384
